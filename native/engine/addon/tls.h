// TLS 1.3 with the OpenSSL of the node binary. Contexts are shared between threads, connections belong to one thread.
#pragma once
#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bytes.h"

struct SslContextFree {
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
};
struct SslFree {
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslContextFree>;
using SslConnection = std::unique_ptr<SSL, SslFree>;

/** PEM text. Null when OpenSSL cannot use it; `error` says why. */
SslContext make_context(const std::string& key, const std::string& chain, const std::string& roots, std::string& error);

/** Where a connection's ciphertext comes from and goes to. Points into buffers of the caller. */
struct TlsPipe {
  const uint8_t* input = nullptr;
  size_t input_size = 0;
  Bytes* output = nullptr;
};

/** `pipe` outlives the connection. */
SslConnection make_connection(SSL_CTX* context, bool server, TlsPipe& pipe);

/** The certificates that the peer presented, DER, leaf first. */
std::vector<std::string> peer_chain(SSL* ssl);

/** Whether the peers agreed on HTTP/2. */
bool speaks_http2(SSL* ssl);

/** What went wrong in the last call on `ssl`; empties this thread's queue of errors. */
std::string tls_error(SSL* ssl);
