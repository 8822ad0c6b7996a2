#include "decisions.h"

#include "engine.h"
#include "worker.h"

Decisions::~Decisions() {
  for (const auto& [key, entry] : entries_)
    worker_.emit({.kind = EventKind::kForgotten, .id = entry.decision.number});
}

const Decision* Decisions::find(const std::string& key) {
  const auto at = entries_.find(key);
  if (at == entries_.end()) return nullptr;
  if (at->second.decision.generation == worker_.shared().generation.load(std::memory_order_acquire))
    return &at->second.decision;
  forget(key);
  return nullptr;
}

void Decisions::remember(const std::string& key, Decision decision) {
  forget(key);
  if (entries_.size() >= max_) forget(std::string(ages_.front()));
  ages_.push_back(key);
  entries_.emplace(key, Entry{std::move(decision), std::prev(ages_.end())});
}

void Decisions::forget(const std::string& key) {
  const auto at = entries_.find(key);
  if (at == entries_.end()) return;
  worker_.emit({.kind = EventKind::kForgotten, .id = at->second.decision.number});
  ages_.erase(at->second.age);
  entries_.erase(at);
}

size_t Decisions::draw(const Decision& decision) const {
  if (decision.candidates.size() == 1) return 0;
  double total = 0;
  for (const Candidate& candidate : decision.candidates) total += candidate.weight;
  double rest = worker_.random() * total;
  for (size_t i = 0; i < decision.candidates.size(); i++) {
    rest -= decision.candidates[i].weight;
    if (rest < 0) return i;
  }
  return decision.candidates.size() - 1;
}
