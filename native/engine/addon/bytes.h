// A queue of bytes that one connection owns. Its storage is never handed to another connection.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

class Bytes {
 public:
  Bytes() = default;
  Bytes(Bytes&& other) noexcept { swap(other); }
  Bytes& operator=(Bytes&& other) noexcept {
    swap(other);
    return *this;
  }

  const uint8_t* data() const { return store_.get() + head_; }
  size_t size() const { return tail_ - head_; }
  bool empty() const { return head_ == tail_; }
  void append(const void* data, size_t size);
  /** Drops `size` bytes from the front. An empty queue keeps a small store and frees a large one. */
  void consume(size_t size);
  void clear() { consume(size()); }
  /** Drops everything and keeps the store, for a queue that is filled in every turn. */
  void reset() { head_ = tail_ = 0; }
  void swap(Bytes& other) noexcept;

 private:
  std::unique_ptr<uint8_t[]> store_;
  size_t capacity_ = 0;
  size_t head_ = 0;
  size_t tail_ = 0;
};
