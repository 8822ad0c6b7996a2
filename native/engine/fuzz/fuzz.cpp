// libFuzzer target for what peers send: HTTP/2 frames and CONNECT streams, below real TLS, on a real engine thread.
//
// The first byte of an input chooses the side that is tested: even, a server session; odd, a client session with a
// connection that waits for its answer. The rest is what the peer sends as plaintext. Decisions that JavaScript would
// give are given here. An input is over when the session has been told as closed; one that never is, is a finding.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "../addon/captured.h"
#include "../addon/commands.h"
#include "../addon/engine.h"
#include "../addon/tls.h"

extern "C" {
// newer than the library that is linked here
void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option*, uint64_t, uint64_t) {}
void nghttp2_option_set_glitch_rate_limit(nghttp2_option*, uint64_t, uint64_t) {}
}

namespace {

constexpr int kPatienceMs = 20'000;
constexpr auto kPatience = std::chrono::milliseconds(kPatienceMs);

std::mutex mutex;
std::condition_variable changed;
uint64_t closed_sessions = 0;

void check(bool holds, const char* what) {
  if (holds) return;
  fprintf(stderr, "fuzz: %s\n", what);
  abort();
}

std::string read_all(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<size_t>(size));
  BIO_free(bio);
  return text;
}

/** A key with a certificate that it signed itself: leaf and root at once. */
SharedContext make_identity() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 100L * 24 * 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("fuzz"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_sign(certificate, key, EVP_sha256());
  BIO* key_out = BIO_new(BIO_s_mem());
  BIO* certificate_out = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey(key_out, key, nullptr, nullptr, 0, nullptr, nullptr);
  PEM_write_bio_X509(certificate_out, certificate);
  const std::string pem = read_all(certificate_out);
  std::string error;
  SharedContext context = make_context(read_all(key_out), pem, pem, error);
  check(context != nullptr, error.c_str());
  X509_free(certificate);
  EVP_PKEY_free(key);
  return context;
}

Descriptor open_listener() {
  Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  Address address = parse_address("127.0.0.1", 0);
  check(bind(listener.get(), address.get(), address.length) == 0 && listen(listener.get(), 64) == 0, "listen");
  return listener;
}

Address address_of(const Descriptor& listener) {
  Address address;
  address.length = sizeof address.storage;
  getsockname(listener.get(), address.get(), &address.length);
  return address;
}

struct Bed {
  SharedContext context = make_identity();
  Shared shared;
  /** What server sessions dial, and what client sessions dial. */
  Descriptor applications;
  Descriptor peers;

  Bed() {
    signal(SIGPIPE, SIG_IGN);
    shared.options.stream_window = 256 * 1024;
    shared.options.connection_window = 1024 * 1024;
    shared.options.frame_size = 64 * 1024;
    shared.options.streams_per_session = 100;
    shared.options.pool_idle_ms = 60'000;
    shared.options.connect_timeout_ms = 10'000;
    applications = open_listener();
    peers = open_listener();
    shared.workers.push_back(std::make_unique<Worker>(shared, 0));
    check(shared.workers[0]->start(), "the engine's thread");
  }
};

Bed& bed() {
  static Bed* const made = new Bed();
  return *made;
}

Worker& worker() { return *bed().shared.workers[0]; }

/** What JavaScript would decide. On the engine's thread. */
void decide(const Event& event) {
  const uint64_t id = event.id;
  switch (event.kind) {
    case EventKind::kHandshake:
      worker().post([id](Worker& on) { commands::accept_session(on, id); });
      break;
    case EventKind::kSessionWanted:
      worker().post([id](Worker& on) { commands::use_credentials(on, id, bed().context); });
      break;
    case EventKind::kStream:
      if (event.text != "CONNECT" || event.list.empty() || event.list[0].size() % 2 == 1) {
        worker().post([id](Worker& on) { commands::dismiss(on, id, 403); });
      } else {
        auto hop = std::make_shared<Hop>();
        hop->to = address_of(bed().applications);
        hop->headers = {"baggage", "k8s.pod.name=fuzz"};
        worker().post([id, hop](Worker& on) { commands::go(on, id, hop); });
      }
      break;
    case EventKind::kSessionClosed: {
      const std::lock_guard lock(mutex);
      closed_sessions++;
      changed.notify_all();
      break;
    }
    default:
      break;
  }
}

uint64_t closed_so_far() {
  const std::lock_guard lock(mutex);
  return closed_sessions;
}

void await_closed(uint64_t count) {
  std::unique_lock lock(mutex);
  check(changed.wait_for(lock, kPatience, [&] { return closed_sessions >= count; }), "a session was never told as closed");
}

/** Speaks TLS over `socket` and sends `data`; then hangs up. */
void send_as_peer(Descriptor socket, bool server, const uint8_t* data, size_t size) {
  SslConnection ssl(SSL_new(bed().context.get()));
  SSL_set_fd(ssl.get(), socket.get());
  static const unsigned char kAlpn[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl.get(), kAlpn, sizeof kAlpn);
  const int done = server ? SSL_accept(ssl.get()) : SSL_connect(ssl.get());
  if (done == 1 && size > 0) SSL_write(ssl.get(), data, static_cast<int>(size));
  shutdown(socket.get(), SHUT_WR);
  // what the engine answers is read until it hangs up, so that nothing it sends is lost in a reset
  uint8_t sink[16 * 1024];
  while (done == 1 && SSL_read(ssl.get(), sink, sizeof sink) > 0) {
  }
}

/** Takes what servers were dialled for. */
void drop_dialled() {
  for (;;) {
    const Descriptor dialled(accept4(bed().applications.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (dialled.get() < 0) return;
  }
}

void test_server(const uint8_t* data, size_t size) {
  int pair[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  const uint64_t before = closed_so_far();
  const int fd = pair[0];
  worker().post([fd](Worker& on) {
    auto owner = std::make_shared<Owner>(1, Descriptor());
    Captured& made = on.add(std::make_unique<Captured>(on, on.next_id(), owner, Descriptor(fd)));
    commands::serve_session(on, made.id(), bed().context);
  });
  send_as_peer(Descriptor(pair[1]), false, data, size);
  await_closed(before + 1);
}

void test_client(const uint8_t* data, size_t size) {
  int pair[2];
  check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair");
  fcntl(pair[0], F_SETFL, O_NONBLOCK);
  const Descriptor application(pair[1]);
  check(write(application.get(), "hello", 5) == 5, "write");
  const uint64_t before = closed_so_far();
  const int fd = pair[0];
  auto owner = std::make_shared<Owner>(2, Descriptor());
  auto hop = std::make_shared<Hop>();
  hop->to = address_of(bed().peers);
  hop->key = "peer";
  hop->authority = "10.0.0.1:80";
  worker().post([fd, owner, hop](Worker& on) {
    on.add(std::make_unique<Captured>(on, on.next_id(), owner, Descriptor(fd))).go(hop);
  });
  pollfd ready = {bed().peers.get(), POLLIN, 0};
  check(poll(&ready, 1, kPatienceMs) == 1, "the peer was never dialled");
  Descriptor peer(accept4(bed().peers.get(), nullptr, nullptr, SOCK_CLOEXEC));
  owner->draining = true;  // it is not tried again
  send_as_peer(std::move(peer), true, data, size);
  await_closed(before + 1);
}

}  // namespace

bool EventQueue::open(napi_env, napi_value) { return true; }
void EventQueue::close() {}
void EventQueue::push(size_t, std::vector<Event>& events) {
  std::vector<Event> batch;
  batch.swap(events);
  for (const Event& event : batch) decide(event);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] % 2 == 0)
    test_server(data + 1, size - 1);
  else
    test_client(data + 1, size - 1);
  drop_dialled();
  return 0;
}
