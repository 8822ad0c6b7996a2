// Answers that may be given again without asking JavaScript.
//
//  - An entry is used only while the engine's generation is the one it was made in; on doubt it is forgotten and asked.
//  - One candidate is drawn for each connection, by weight.
//  - Bounded: the oldest entry makes room. Whatever goes is told, after all that was decided by it.
#pragma once
#include <list>
#include <string>
#include <unordered_map>
#include <vector>

#include "hop.h"

class Worker;

struct Candidate {
  double weight;
  HopPointer hop;
};

struct Decision {
  /** As JavaScript knows it. */
  uint64_t number;
  uint64_t generation;
  std::vector<Candidate> candidates;
};

class Decisions {
 public:
  Decisions(Worker& worker, size_t max) : worker_(worker), max_(max) {}
  ~Decisions();
  Decisions(const Decisions&) = delete;
  Decisions& operator=(const Decisions&) = delete;

  /** Valid until the next call. Null: ask. */
  const Decision* find(const std::string& key);
  void remember(const std::string& key, Decision decision);
  /** Index of the candidate that the next connection takes. */
  size_t draw(const Decision& decision) const;

 private:
  struct Entry {
    Decision decision;
    std::list<std::string>::iterator age;
  };

  void forget(const std::string& key);

  Worker& worker_;
  const size_t max_;
  std::unordered_map<std::string, Entry> entries_;
  /** Oldest first. */
  std::list<std::string> ages_;
};
