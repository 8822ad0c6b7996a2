// Sizes that every thread and session keeps to.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

/** One read of a session's socket, and the plaintext parsed in one go. */
constexpr size_t kReadBytes = 1024 * 1024;
/** The largest plaintext that OpenSSL returns in one call. */
constexpr size_t kRecordBytes = 16 * 1024;
/** DATA frames start small and grow with a stream that keeps filling them. */
constexpr size_t kSmallFrame = 16 * 1024;
constexpr size_t kLargeFrame = 256 * 1024;
/** Frames are encrypted in runs of about this size. */
constexpr size_t kEncryptBytes = 256 * 1024;
/** Ciphertext that may wait for one socket; no stream is read meanwhile. */
constexpr size_t kSendBytes = 1024 * 1024;
/** The answer when the application could not be reached. */
constexpr int kUnavailable = 503;
/** Work for one descriptor in one turn, in buffers, so that others get their turn. */
constexpr int kRoundsPerTurn = 4;
/** Bytes of header fields of one request or response. */
constexpr size_t kServerHeaderBytes = 64 * 1024;
constexpr size_t kClientHeaderBytes = 16 * 1024;
/** Streams that a server allows per session. */
constexpr uint32_t kServerStreams = 200;
constexpr uint64_t kPingIntervalMs = 10'000;
constexpr uint64_t kPingTimeoutMs = 20'000;
/** A peer may wait 5 s for its workload and 10 s for its application before it answers. */
constexpr uint64_t kAnswerTimeoutMs = 30'000;
/** An outer stream whose inner session ended waits so long for the peer to end it too. */
constexpr uint64_t kLingerMs = 10'000;
/** From the deadline of the handshake to that of the peer's SETTINGS. */
constexpr uint64_t kHandshakeGraceMs = 1'000;
/** Clock of reports, pings and deadlines. */
constexpr int kTickMs = 500;
constexpr uint64_t kReportMs = 1'000;

/** Sessions that are tried for one stream: at an upgrade of the peer a fresh one may be told to go away as well. */
constexpr int kAttemptsMax = 3;
/** After the notice that it goes away, a server still takes the streams that were sent before the peer heard of it. */
constexpr uint64_t kGoawayGraceMs = 500;
/** What JavaScript need not hear at once waits so long, or until so much has come together. */
constexpr uint64_t kTellMs = 5;
constexpr size_t kTellEvents = 256;
/** Connections of one thread that wait for their decision; further ones stay in the kernel's queue. */
constexpr size_t kUndecidedMax = 4096;
/** Decisions that one thread remembers for connections, and for the streams of one session. */
constexpr size_t kDecisionsMax = 8192;
constexpr size_t kStreamDecisionsMax = 64;
/** Connections accepted in one turn per listener. */
constexpr int kAcceptsPerTurn = 64;
/** Without descriptors or memory, accepting pauses so long. */
constexpr uint64_t kPauseMs = 50;
/** Connections that a thread may have more than another before it hands the next one over. */
constexpr int64_t kPlainSlack = 2;
constexpr int64_t kSessionSlack = 0;

/** Of every socket that the engine makes. */
struct SocketOptions {
  /** -1: none. */
  int64_t mark = -1;
  /** Of a socket that shows a foreign address; -1: as the others. */
  int64_t source_mark = -1;
  /** 0: no keepalive. */
  int keepalive_time_s = 0;
  int keepalive_interval_s = 0;
  int keepalive_retries = 0;
  /** 0: the kernel's. */
  int user_timeout_ms = 0;
  /** TCP_CONGESTION; empty: the system's. */
  std::string congestion = {};
};

/** Told once per engine. */
struct EngineOptions {
  uint32_t stream_window = 0;
  uint32_t connection_window = 0;
  uint32_t frame_size = 0;
  uint32_t streams_per_session = 0;
  uint64_t pool_idle_ms = 0;
  uint64_t connect_timeout_ms = 0;
  SocketOptions sockets = {};
};
