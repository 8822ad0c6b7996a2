// Where a decision sends a connection: plain data, made once and shared by what carries it out.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "address.h"
#include "owner.h"

/** Names and values in turn. */
using Pairs = std::vector<std::string>;

/** What of a header's value is put in for each connection. Numbers are shared with src/engine/port.ts. */
constexpr char kSourcePart = 1;
constexpr char kTracePart = 2;
constexpr char kSpanPart = 3;

struct Hop {
  /** The application, or the peer of an HBONE session. */
  Address to;
  /** Plain: the address to show; empty: the kernel's choice. */
  Address source;
  /** Plain: written before the client's bytes, and not counted. */
  std::string preamble;
  /** Plain, of a CONNECT stream: headers of the 200. HBONE: headers of the CONNECT. */
  Pairs headers;
  /** Same node: whose namespace to dial from; null: the connection's own. */
  std::shared_ptr<Owner> owner;
  /** Same node: the number under which the other end is told of; 0: there is none. */
  uint64_t twin = 0;
  /** HBONE: sessions are shared under this key; empty for plain. */
  std::string key;
  std::string authority;

  bool is_plain() const { return key.empty(); }
};

using HopPointer = std::shared_ptr<const Hop>;
