// The HTTP/2 half of a session: nghttp2 with the symbols of the node binary. Source: RFC 9113.
#include <errno.h>
#include <openssl/err.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "captured.h"
#include "fields.h"
#include "session.h"
#include "session_pool.h"
#include "stream.h"

extern "C" {
// newer than the header compiled against
void nghttp2_option_set_stream_reset_rate_limit(nghttp2_option* option, uint64_t burst, uint64_t rate);
void nghttp2_option_set_glitch_rate_limit(nghttp2_option* option, uint64_t burst, uint64_t rate);
}

namespace {

/** A pooled session carries many short connections that may end by reset; this still stops a flood. */
constexpr uint64_t kResetBurst = 20'000;
constexpr uint64_t kResetRate = 20'000;
constexpr size_t kFrameHeaderBytes = 9;

Stream* stream_of(nghttp2_session* http2, int32_t number) {
  return static_cast<Stream*>(nghttp2_session_get_stream_user_data(http2, number));
}

}  // namespace

struct Http2Callbacks {
  static int begin_headers(nghttp2_session* http2, const nghttp2_frame* frame, void* user) {
    Session& session = *static_cast<Session*>(user);
    if (!session.server_ || frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    auto made = std::make_unique<Stream>(session, frame->hd.stream_id);
    Stream& stream = session.worker_.add(std::move(made));
    session.streams_.insert(&stream);
    nghttp2_session_set_stream_user_data(http2, frame->hd.stream_id, &stream);
    return 0;
  }

  static int header(nghttp2_session* http2, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* user) {
    Session& session = *static_cast<Session*>(user);
    Stream* stream = stream_of(http2, frame->hd.stream_id);
    if (stream == nullptr || stream->phase > StreamPhase::kDeciding) return 0;
    stream->header_bytes += name_size + value_size + 32;
    if (stream->header_bytes > (session.server_ ? kServerHeaderBytes : kClientHeaderBytes))
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    std::string key(reinterpret_cast<const char*>(name), name_size);
    std::string text(reinterpret_cast<const char*>(value), value_size);
    if (key == ":method") stream->method = text;
    if (key == ":authority") stream->authority = text;
    if (key == ":status") std::from_chars(text.data(), text.data() + text.size(), stream->status);
    stream->headers.push_back(std::move(key));
    stream->headers.push_back(std::move(text));
    return 0;
  }

  static int frame_received(nghttp2_session* http2, const nghttp2_frame* frame, void* user) {
    Session& session = *static_cast<Session*>(user);
    switch (frame->hd.type) {
      case NGHTTP2_SETTINGS:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) break;
        session.settled_ = true;
        session.worker_.emit(
            {.kind = EventKind::kSettings,
             .n = nghttp2_session_get_remote_settings(http2, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS),
             .id = session.id_});
        break;
      case NGHTTP2_GOAWAY:
        session.going_away_ = true;
        break;
      case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
          session.ping_waits_ = false;
          session.pinged_ms_ = session.worker_.now_ms();
        }
        break;
      case NGHTTP2_HEADERS:
      case NGHTTP2_DATA:
        message(session, stream_of(http2, frame->hd.stream_id), *frame);
        break;
      default:
        break;
    }
    return 0;
  }

  static void message(Session& session, Stream* stream, const nghttp2_frame& frame) {
    if (stream == nullptr) return;
    session.touch(*stream);
    if (frame.hd.flags & NGHTTP2_FLAG_END_STREAM) stream->peer_ended = true;
    if (frame.hd.type != NGHTTP2_HEADERS) return;
    if (session.server_ && frame.headers.cat == NGHTTP2_HCAT_REQUEST) {
      ask(session, *stream);
    } else if (stream->phase == StreamPhase::kRequested && stream->status / 100 == 1) {
      stream->status = 0;
      stream->headers.clear();
    }
  }

  /** JavaScript decides, unless it has for this peer and authority. */
  static void ask(Session& session, Stream& stream) {
    std::vector<std::string> list = {stream.authority};
    list.insert(list.end(), stream.headers.begin(), stream.headers.end());
    stream.headers.clear();
    const Decision* known = stream.method == "CONNECT" ? session.decisions_.find(stream.authority) : nullptr;
    Event event = {.kind = known == nullptr ? EventKind::kStream : EventKind::kReused,
                   .id = stream.id(),
                   .session = session.id_,
                   .a = known == nullptr ? 0 : known->number,
                   .text = stream.method,
                   .list = std::move(list)};
    session.worker_.emit(std::move(event));
    if (known != nullptr) stream.go(known->candidates.front().hop);
  }

  static int data(nghttp2_session* http2, uint8_t, int32_t number, const uint8_t* data, size_t size, void* user) {
    Session& session = *static_cast<Session*>(user);
    session.received_ += size;
    Stream* stream = stream_of(http2, number);
    if (stream == nullptr) {
      nghttp2_session_consume_stream(http2, number, size);
      return 0;
    }
    stream->receive(data, size);
    session.touch(*stream);
    return 0;
  }

  static int stream_closed(nghttp2_session* http2, int32_t number, uint32_t code, void* user) {
    Stream* stream = stream_of(http2, number);
    if (stream == nullptr) return 0;
    stream->closed = true;
    stream->close_code = code;
    static_cast<Session*>(user)->touch(*stream);
    return 0;
  }

  /** A request that could not be sent: the peer is going away. */
  static int not_sent(nghttp2_session*, const nghttp2_frame* frame, int, void* user) {
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Session& session = *static_cast<Session*>(user);
    for (Stream* stream : session.streams_) {
      if (stream->number != frame->hd.stream_id) continue;
      stream->closed = true;
      stream->close_code = NGHTTP2_REFUSED_STREAM;
      session.touch(*stream);
    }
    return 0;
  }

  static ssize_t read(nghttp2_session*, int32_t number, uint8_t*, size_t length, uint32_t* flags,
                      nghttp2_data_source*, void* user) {
    return static_cast<Session*>(user)->read_data(number, length, flags);
  }

  static int send(nghttp2_session*, nghttp2_frame*, const uint8_t* frame_header, size_t length, nghttp2_data_source*,
                  void* user) {
    static_cast<Session*>(user)->send_data(frame_header, length);
    return 0;
  }

  static ssize_t length(nghttp2_session* http2, uint8_t, int32_t number, int32_t, int32_t, uint32_t frame_max, void*) {
    const Stream* stream = stream_of(http2, number);
    return static_cast<ssize_t>(std::min<size_t>(stream == nullptr ? kSmallFrame : stream->frame_bytes, frame_max));
  }

  static nghttp2_session_callbacks* make() {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, frame_received);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, stream_closed);
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks, not_sent);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send);
    nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, length);
    return callbacks;
  }
};

void Session::start_http2() {
  static nghttp2_session_callbacks* const callbacks = Http2Callbacks::make();
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_option_set_stream_reset_rate_limit(option, kResetBurst, kResetRate);
  nghttp2_option_set_glitch_rate_limit(option, kResetBurst, kResetRate);
  nghttp2_session* made = nullptr;
  if (server_)
    nghttp2_session_server_new2(&made, callbacks, this, option);
  else
    nghttp2_session_client_new2(&made, callbacks, this, option);
  nghttp2_option_del(option);
  http2_.reset(made);
  const EngineOptions& limits = worker_.options();
  const nghttp2_settings_entry settings[] = {
      {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits.stream_window},
      {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, limits.frame_size},
      {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
       static_cast<uint32_t>(server_ ? kServerHeaderBytes : kClientHeaderBytes)},
      {server_ ? NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS : NGHTTP2_SETTINGS_ENABLE_PUSH, server_ ? kServerStreams : 0},
  };
  nghttp2_submit_settings(made, NGHTTP2_FLAG_NONE, settings, std::size(settings));
  nghttp2_session_set_local_window_size(made, NGHTTP2_FLAG_NONE, 0, static_cast<int32_t>(limits.connection_window));
  pinged_ms_ = worker_.now_ms();
}

void Session::touch(Stream& stream) {
  if (stream.touched) return;
  stream.touched = true;
  touched_.push_back(&stream);
}

void Session::parse(size_t size) {
  received_ = 0;
  const ssize_t parsed = nghttp2_session_mem_recv(http2_.get(), worker_.decrypted, size);
  // the whole session's window is given back at once: a stream that nobody reads stops only itself
  if (received_ > 0) nghttp2_session_consume_connection(http2_.get(), received_);
  announce();
  settle_touched();
  if (parsed < 0 && !buried) {
    flush();
    die(nghttp2_strerror(static_cast<int>(parsed)), CloseCause::kHttp2);
  }
}

void Session::announce() {
  if (pool_key_.empty() || !settled_) return;
  if (!announced_) {
    announced_ = true;
    idle_since_ms_ = worker_.now_ms();
    worker_.pool().opened(*this);
  }
  if (going_away_ && streams_.empty()) retire();
}

bool Session::has_room() const {
  if (phase_ != SessionPhase::kOpen || !settled_ || closing_ || dead_ || going_away_) return false;
  const uint32_t theirs = nghttp2_session_get_remote_settings(http2_.get(), NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
  return streams_.size() < std::min(worker_.options().streams_per_session, theirs) &&
         nghttp2_session_check_request_allowed(http2_.get());
}

void Session::connect(Captured& connection, const HopPointer& hop) {
  std::vector<std::string> pairs = {":method", "CONNECT", ":authority", hop->authority};
  for (const std::string& text : hop->headers) pairs.push_back(fill(worker_, text, connection.source()));
  Stream& stream = worker_.add(std::make_unique<Stream>(*this, connection, hop));
  streams_.insert(&stream);
  if (phase_ != SessionPhase::kOpen || closing_ || !nghttp2_session_check_request_allowed(http2_.get())) {
    stream.refuse("the session takes no more streams");
    return;
  }
  const std::vector<nghttp2_nv> list = fields(pairs);
  const nghttp2_data_provider provider = {.source = {.ptr = nullptr}, .read_callback = Http2Callbacks::read};
  stream.number = nghttp2_submit_request(http2_.get(), nullptr, list.data(), list.size(), &provider, &stream);
  if (stream.number < 0) {
    stream.closed = true;
    stream.refuse(nghttp2_strerror(stream.number));
  }
  worker_.mark_dirty(*this);
}

void Session::respond(Stream& stream, int status, const std::vector<std::string>& headers, bool is_end) {
  std::vector<std::string> pairs = {":status", std::to_string(status)};
  pairs.insert(pairs.end(), headers.begin(), headers.end());
  const std::vector<nghttp2_nv> list = fields(pairs);
  const nghttp2_data_provider provider = {.source = {.ptr = nullptr}, .read_callback = Http2Callbacks::read};
  nghttp2_submit_response(http2_.get(), stream.number, list.data(), list.size(), is_end ? nullptr : &provider);
  stream.end_sent = is_end;
  worker_.mark_dirty(*this);
}

void Session::resume(Stream& stream) {
  worker_.mark_dirty(*this);
  if (!stream.deferred) return;
  stream.deferred = false;
  nghttp2_session_resume_data(http2_.get(), stream.number);
}

void Session::credit(Stream& stream, size_t size) {
  nghttp2_session_consume_stream(http2_.get(), stream.number, size);
  worker_.mark_dirty(*this);
}

bool Session::has_no_window(const Stream& stream) const {
  return nghttp2_session_get_remote_window_size(http2_.get()) <= 0 ||
         nghttp2_session_get_stream_remote_window_size(http2_.get(), stream.number) <= 0;
}

void Session::forget(Stream& stream, bool reset) {
  streams_.erase(&stream);
  std::erase(touched_, &stream);
  if (http2_) {
    nghttp2_session_set_stream_user_data(http2_.get(), stream.number, nullptr);
    if (reset && !stream.closed)
      nghttp2_submit_rst_stream(http2_.get(), NGHTTP2_FLAG_NONE, stream.number, NGHTTP2_CANCEL);
  }
  worker_.mark_dirty(*this);
  if (!announced_ || dead_) return;
  if (streams_.empty()) idle_since_ms_ = worker_.now_ms();
  if (streams_.empty() && going_away_)
    retire();
  else
    worker_.pool().released(*this);
}

ssize_t Session::read_data(int32_t number, size_t length, uint32_t* flags) {
  Stream* stream = stream_of(http2_.get(), number);
  if (stream == nullptr) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  stream->deferred = true;
  if (stream->phase != StreamPhase::kJoined) return NGHTTP2_ERR_DEFERRED;
  if (pipe_.output->size() >= kSendBytes) {
    held_.push_back(number);
    return NGHTTP2_ERR_DEFERRED;
  }
  const ssize_t count = stream->read(worker_.framed + framed_ + kFrameHeaderBytes, std::min(length, kLargeFrame));
  if (count == -EAGAIN) return NGHTTP2_ERR_DEFERRED;
  if (count < 0) {
    stream->failure = static_cast<int>(-count);
    touch(*stream);
    return NGHTTP2_ERR_DEFERRED;
  }
  stream->deferred = false;
  *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
  if (count == 0) {
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    stream->end_sent = true;
  } else {
    stream->grow(length, static_cast<size_t>(count));
  }
  return count;
}

void Session::send_data(const uint8_t* frame_header, size_t length) {
  memcpy(worker_.framed + framed_, frame_header, kFrameHeaderBytes);
  framed_ += kFrameHeaderBytes + length;
  if (framed_ >= kEncryptBytes) encrypt();
}

bool Session::produce() {
  std::vector<int32_t> held;
  held.swap(held_);
  for (const int32_t number : held) {
    Stream* stream = stream_of(http2_.get(), number);
    if (stream != nullptr) resume(*stream);
  }
  framed_ = 0;
  for (;;) {
    const uint8_t* data = nullptr;
    const ssize_t size = nghttp2_session_mem_send(http2_.get(), &data);
    if (size < 0) return false;
    if (size == 0) return encrypt();
    for (size_t done = 0; done < static_cast<size_t>(size);) {
      const size_t step = std::min(static_cast<size_t>(size) - done, kEncryptBytes);
      memcpy(worker_.framed + framed_, data + done, step);
      framed_ += step;
      done += step;
      if (framed_ >= kEncryptBytes && !encrypt()) return false;
    }
  }
}

bool Session::encrypt() {
  size_t done = 0;
  ERR_clear_error();
  while (done < framed_) {
    const int count = SSL_write(ssl_.get(), worker_.framed + done, static_cast<int>(framed_ - done));
    if (count <= 0) break;
    done += static_cast<size_t>(count);
  }
  const bool sound = done == framed_;
  framed_ = 0;
  return sound;
}
