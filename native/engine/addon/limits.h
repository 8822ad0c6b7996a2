// Sizes that every thread and session keeps to.
#pragma once
#include <cstddef>
#include <cstdint>

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

/** Told once per engine by its options. */
struct SessionLimits {
  uint32_t stream_window = 0;
  uint32_t connection_window = 0;
  uint32_t frame_size = 0;
};
