#include "event.h"

#include <iterator>

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

/** [kind, id, thread, session, a, b, n, us, cause, text, list] */
napi_value to_value(napi_env env, const Event& event, size_t thread) {
  const double numbers[] = {
      static_cast<double>(event.kind), static_cast<double>(event.id), static_cast<double>(thread),
      static_cast<double>(event.session), static_cast<double>(event.a), static_cast<double>(event.b),
      static_cast<double>(event.n), static_cast<double>(event.us), static_cast<double>(event.cause)};
  napi_value array = nullptr;
  napi_create_array_with_length(env, std::size(numbers) + 2, &array);
  uint32_t index = 0;
  for (const double number : numbers) napi_set_element(env, array, index++, to_number(env, number));
  napi_set_element(env, array, index++, to_text(env, event.text));
  napi_set_element(env, array, index, to_list(env, event));
  return array;
}

}  // namespace

bool EventQueue::open(napi_env env, napi_value callback) {
  napi_value name = nullptr;
  napi_create_string_utf8(env, "culvert-engine", NAPI_AUTO_LENGTH, &name);
  return napi_create_threadsafe_function(env, callback, nullptr, name, 0, 1, nullptr, nullptr, this, deliver,
                                         &function_) == napi_ok;
}

void EventQueue::push(size_t thread, std::vector<Event>& events) {
  if (events.empty()) return;
  auto* batch = new EventBatch{thread, {}};
  batch->events.swap(events);
  if (waiting_.put(batch)) napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void EventQueue::close() { napi_release_threadsafe_function(function_, napi_tsfn_abort); }

void EventQueue::deliver(napi_env env, napi_value callback, void* context, void*) {
  if (env == nullptr) return;
  EventBatch* batch = static_cast<EventQueue*>(context)->waiting_.take();
  if (batch == nullptr) return;
  napi_value list = nullptr;
  napi_create_array(env, &list);
  uint32_t count = 0;
  while (batch != nullptr) {
    for (const Event& event : batch->events) {
      napi_handle_scope scope = nullptr;
      napi_open_handle_scope(env, &scope);
      napi_set_element(env, list, count++, to_value(env, event, batch->thread));
      napi_close_handle_scope(env, scope);
    }
    EventBatch* const next = batch->next;
    delete batch;
    batch = next;
  }
  napi_value undefined = nullptr;
  napi_get_undefined(env, &undefined);
  napi_call_function(env, undefined, callback, 1, &list, nullptr);
}
