#include "bytes.h"

#include <cstring>
#include <utility>

namespace {
constexpr size_t kSmallest = 4096;
/** A store larger than this is freed when the queue runs empty. */
constexpr size_t kKept = 64 * 1024;
}  // namespace

void Bytes::append(const void* data, size_t size) {
  if (size == 0) return;
  if (tail_ + size > capacity_) {
    const size_t used = this->size();
    if (used + size <= capacity_ && head_ >= used) {
      memmove(store_.get(), store_.get() + head_, used);
    } else {
      size_t larger = capacity_ < kSmallest ? kSmallest : capacity_;
      while (larger < used + size) larger *= 2;
      std::unique_ptr<uint8_t[]> store(new uint8_t[larger]);
      if (used > 0) memcpy(store.get(), store_.get() + head_, used);
      store_ = std::move(store);
      capacity_ = larger;
    }
    head_ = 0;
    tail_ = used;
  }
  memcpy(store_.get() + tail_, data, size);
  tail_ += size;
}

void Bytes::consume(size_t size) {
  head_ += size;
  if (head_ < tail_) return;
  head_ = tail_ = 0;
  if (capacity_ > kKept) {
    store_.reset();
    capacity_ = 0;
  }
}

void Bytes::swap(Bytes& other) noexcept {
  std::swap(store_, other.store_);
  std::swap(capacity_, other.capacity_);
  std::swap(head_, other.head_);
  std::swap(tail_, other.tail_);
}
