// An IP address with a port, as the kernel and as JavaScript write it.
#pragma once
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>

struct Address {
  sockaddr_storage storage = {};
  socklen_t length = 0;

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
  bool empty() const { return length == 0; }
  /** IPv4 inside IPv6 is written as IPv4. */
  std::string ip() const;
  uint16_t port() const;
};

/** Empty when `ip` is none. */
Address parse_address(const std::string& ip, uint16_t port);
