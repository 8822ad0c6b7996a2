#include "tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include <algorithm>
#include <cstring>

namespace {

constexpr unsigned char kAlpn[] = {2, 'h', '2'};
constexpr char kCiphers[] = "TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256";

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
struct X509Free {
  void operator()(X509* certificate) const { X509_free(certificate); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using BioPointer = std::unique_ptr<BIO, BioFree>;
using Certificate = std::unique_ptr<X509, X509Free>;

BioPointer memory(const std::string& text) {
  return BioPointer(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

Certificate next_certificate(BIO* bio) { return Certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)); }

std::string last_error() {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return reason == nullptr ? "unknown error" : reason;
}

bool use_chain(SSL_CTX* context, const std::string& pem) {
  const BioPointer bio = memory(pem);
  const Certificate leaf = next_certificate(bio.get());
  if (!leaf || SSL_CTX_use_certificate(context, leaf.get()) != 1) return false;
  while (const Certificate more = next_certificate(bio.get()))
    if (SSL_CTX_add1_chain_cert(context, more.get()) != 1) return false;
  ERR_clear_error();
  return true;
}

bool use_key(SSL_CTX* context, const std::string& pem) {
  const BioPointer bio = memory(pem);
  const std::unique_ptr<EVP_PKEY, KeyFree> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr));
  return key && SSL_CTX_use_PrivateKey(context, key.get()) == 1 && SSL_CTX_check_private_key(context) == 1;
}

bool trust(SSL_CTX* context, const std::string& pem) {
  const BioPointer bio = memory(pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  size_t count = 0;
  while (const Certificate root = next_certificate(bio.get())) {
    if (X509_STORE_add_cert(store, root.get()) != 1) return false;
    count++;
  }
  ERR_clear_error();
  return count > 0;
}

int select_alpn(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned in_size, void*) {
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, size, kAlpn, sizeof kAlpn, in, in_size) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_ALERT_FATAL;
  *out = selected;
  return SSL_TLSEXT_ERR_OK;
}

int pipe_write(BIO* bio, const char* data, int size) {
  TlsPipe& pipe = *static_cast<TlsPipe*>(BIO_get_data(bio));
  pipe.output->append(data, static_cast<size_t>(size));
  return size;
}

int pipe_read(BIO* bio, char* data, int size) {
  TlsPipe& pipe = *static_cast<TlsPipe*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (pipe.input_size == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const size_t taken = std::min(pipe.input_size, static_cast<size_t>(size));
  memcpy(data, pipe.input, taken);
  pipe.input += taken;
  pipe.input_size -= taken;
  return static_cast<int>(taken);
}

long pipe_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

int pipe_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO_METHOD* pipe_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "pipe");
    BIO_meth_set_write(made, pipe_write);
    BIO_meth_set_read(made, pipe_read);
    BIO_meth_set_ctrl(made, pipe_control);
    BIO_meth_set_create(made, pipe_create);
    return made;
  }();
  return method;
}

std::string to_der(X509* certificate) {
  const int size = i2d_X509(certificate, nullptr);
  if (size <= 0) return {};
  std::string der(static_cast<size_t>(size), '\0');
  auto* at = reinterpret_cast<unsigned char*>(der.data());
  i2d_X509(certificate, &at);
  return der;
}

}  // namespace

SslContext make_context(const std::string& key, const std::string& chain, const std::string& roots,
                        std::string& error) {
  ERR_clear_error();
  SslContext context(SSL_CTX_new(TLS_method()));
  SSL_CTX* raw = context.get();
  const bool made = raw != nullptr && SSL_CTX_set_min_proto_version(raw, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_max_proto_version(raw, TLS1_3_VERSION) == 1 &&
                    SSL_CTX_set_ciphersuites(raw, kCiphers) == 1 && use_chain(raw, chain) && use_key(raw, key) &&
                    trust(raw, roots) && SSL_CTX_set_alpn_protos(raw, kAlpn, sizeof kAlpn) == 0;
  if (!made) {
    error = last_error();
    return nullptr;
  }
  // sessions are long and pooled: resumption would only weaken forward secrecy
  SSL_CTX_set_options(raw, SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_num_tickets(raw, 0);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  SSL_CTX_set_alpn_select_cb(raw, select_alpn, nullptr);
  return context;
}

SslConnection make_connection(SSL_CTX* context, bool server, TlsPipe& pipe) {
  SslConnection ssl(SSL_new(context));
  BIO* bio = ssl ? BIO_new(pipe_method()) : nullptr;
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, &pipe);
  SSL_set_bio(ssl.get(), bio, bio);
  if (server)
    SSL_set_accept_state(ssl.get());
  else
    SSL_set_connect_state(ssl.get());
  return ssl;
}

std::vector<std::string> peer_chain(SSL* ssl) {
  std::vector<std::string> chain;
  X509* leaf = SSL_get0_peer_certificate(ssl);
  if (leaf == nullptr || SSL_get_verify_result(ssl) != X509_V_OK) return chain;
  chain.push_back(to_der(leaf));
  const STACK_OF(X509)* presented = SSL_get_peer_cert_chain(ssl);
  for (int i = SSL_is_server(ssl) ? 0 : 1; i < sk_X509_num(presented); i++)
    chain.push_back(to_der(sk_X509_value(presented, i)));
  return chain;
}

bool speaks_http2(SSL* ssl) {
  const unsigned char* selected = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &selected, &size);
  return size == 2 && memcmp(selected, "h2", 2) == 0;
}

std::string tls_error(SSL* ssl) {
  const long verify = SSL_get_verify_result(ssl);
  const std::string reason = last_error();
  return verify == X509_V_OK ? reason : X509_verify_cert_error_string(verify);
}
