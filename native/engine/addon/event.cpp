#include "event.h"

#include <utility>

namespace {

napi_value to_number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

napi_value to_text(napi_env env, const std::string& text) {
  napi_value result = nullptr;
  napi_create_string_latin1(env, text.data(), text.size(), &result);
  return result;
}

/** Certificates are bytes, everything else is text. */
napi_value to_list(napi_env env, const Event& event) {
  napi_value list = nullptr;
  napi_create_array_with_length(env, event.list.size(), &list);
  for (size_t i = 0; i < event.list.size(); i++) {
    const std::string& entry = event.list[i];
    napi_value item = nullptr;
    if (event.kind == EventKind::kHandshake)
      napi_create_buffer_copy(env, entry.size(), entry.data(), nullptr, &item);
    else
      item = to_text(env, entry);
    napi_set_element(env, list, static_cast<uint32_t>(i), item);
  }
  return list;
}

/** [kind, id, a, b, n, cause, text, list] */
napi_value to_value(napi_env env, const Event& event) {
  napi_value parts[] = {
      to_number(env, static_cast<double>(event.kind)),
      to_number(env, static_cast<double>(event.id)),
      to_number(env, static_cast<double>(event.a)),
      to_number(env, static_cast<double>(event.b)),
      to_number(env, static_cast<double>(event.n)),
      to_number(env, static_cast<double>(event.cause)),
      to_text(env, event.text),
      to_list(env, event),
  };
  napi_value array = nullptr;
  napi_create_array_with_length(env, std::size(parts), &array);
  for (uint32_t i = 0; i < std::size(parts); i++) napi_set_element(env, array, i, parts[i]);
  return array;
}

}  // namespace

bool EventQueue::open(napi_env env, napi_value callback) {
  napi_value name = nullptr;
  napi_create_string_utf8(env, "culvert-engine", NAPI_AUTO_LENGTH, &name);
  return napi_create_threadsafe_function(env, callback, nullptr, name, 0, 1, nullptr, nullptr, this, deliver,
                                         &function_) == napi_ok;
}

void EventQueue::push(std::vector<Event>& events) {
  if (events.empty()) return;
  const std::lock_guard lock(mutex_);
  if (!closed_) {
    for (Event& event : events) waiting_.push_back(std::move(event));
    if (!woken_) {
      woken_ = true;
      napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
    }
  }
  events.clear();
}

void EventQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    closed_ = true;
    waiting_.clear();
  }
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

void EventQueue::deliver(napi_env env, napi_value callback, void* context, void*) {
  if (env == nullptr) return;
  EventQueue& queue = *static_cast<EventQueue*>(context);
  std::vector<Event> events;
  {
    const std::lock_guard lock(queue.mutex_);
    queue.woken_ = false;
    events.swap(queue.waiting_);
  }
  if (events.empty()) return;
  napi_value batch = nullptr;
  napi_create_array_with_length(env, events.size(), &batch);
  for (size_t i = 0; i < events.size(); i++) {
    napi_handle_scope scope = nullptr;
    napi_open_handle_scope(env, &scope);
    napi_set_element(env, batch, static_cast<uint32_t>(i), to_value(env, events[i]));
    napi_close_handle_scope(env, scope);
  }
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  napi_call_function(env, undefined, callback, 1, &batch, nullptr);
}
