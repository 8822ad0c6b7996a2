// A lock-free inbox: any thread puts, one thread takes all, in the order in which they were put.
#pragma once
#include <atomic>

/** `Node` has a member `Node* next`. Nodes are given away by put() and owned by whoever takes them. */
template <typename Node>
class Inbox {
 public:
  Inbox() = default;
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() {
    for (Node* node = take(); node != nullptr;) {
      Node* const next = node->next;
      delete node;
      node = next;
    }
  }

  /** True when it was empty: whoever takes has to be woken. */
  bool put(Node* node) {
    Node* head = head_.load(std::memory_order_relaxed);
    do {
      node->next = head;
    } while (!head_.compare_exchange_weak(head, node, std::memory_order_release, std::memory_order_relaxed));
    return head == nullptr;
  }

  /** The oldest, linked to those that came after; null when there is none. */
  Node* take() {
    Node* newest = head_.exchange(nullptr, std::memory_order_acquire);
    Node* oldest = nullptr;
    while (newest != nullptr) {
      Node* const next = newest->next;
      newest->next = oldest;
      oldest = newest;
      newest = next;
    }
    return oldest;
  }

 private:
  std::atomic<Node*> head_{nullptr};
};
