// The arguments of a call from JavaScript. Main thread only; what they mean was checked by src/engine/native/addon.ts.
#pragma once
#include <node_api.h>

#include <cstdint>
#include <string>
#include <vector>

constexpr size_t kArgumentsMax = 10;

/** Arguments by position. The first that does not fit throws a TypeError; `fits` then stays false. */
class Arguments {
 public:
  Arguments(napi_env env, napi_callback_info info) : env_(env) {
    size_t count = kArgumentsMax;
    napi_get_cb_info(env, info, &count, values_, nullptr, nullptr);
  }

  double number(size_t index) {
    double value = 0;
    check(napi_get_value_double(env_, values_[index], &value) == napi_ok);
    return value;
  }
  uint64_t id(size_t index) { return static_cast<uint64_t>(number(index)); }
  int integer(size_t index) { return static_cast<int>(number(index)); }
  bool flag(size_t index) {
    bool value = false;
    check(napi_get_value_bool(env_, values_[index], &value) == napi_ok);
    return value;
  }
  std::string text(size_t index) { return text_of(values_[index]); }
  std::string bytes(size_t index) {
    void* data = nullptr;
    size_t size = 0;
    napi_typedarray_type type = napi_uint8_array;
    const napi_status status =
        napi_get_typedarray_info(env_, values_[index], &type, &size, &data, nullptr, nullptr);
    check(status == napi_ok && type == napi_uint8_array);
    return fits ? std::string(static_cast<const char*>(data), size) : std::string();
  }
  std::vector<std::string> list(size_t index) {
    uint32_t size = 0;
    check(napi_get_array_length(env_, values_[index], &size) == napi_ok);
    std::vector<std::string> entries;
    for (uint32_t i = 0; i < size && fits; i++) {
      napi_value entry = nullptr;
      napi_get_element(env_, values_[index], i, &entry);
      entries.push_back(text_of(entry));
    }
    return entries;
  }
  napi_value value(size_t index) const { return values_[index]; }

  /** Calls `use(entry)` for each entry of an array; an entry is an array and can be read as arguments are. */
  template <typename Use>
  void each(size_t index, const Use& use) {
    uint32_t size = 0;
    check(napi_get_array_length(env_, values_[index], &size) == napi_ok);
    for (uint32_t i = 0; i < size && fits; i++) {
      Arguments entry(env_);
      napi_value list = nullptr;
      uint32_t length = 0;
      napi_get_element(env_, values_[index], i, &list);
      check(napi_get_array_length(env_, list, &length) == napi_ok && length <= kArgumentsMax);
      for (uint32_t j = 0; j < length && fits; j++) napi_get_element(env_, list, j, &entry.values_[j]);
      if (fits) use(entry);
      fits = fits && entry.fits;
    }
  }

  template <typename T>
  T* handle(size_t index, const napi_type_tag& tag) {
    bool ours = false;
    void* data = nullptr;
    check(napi_check_object_type_tag(env_, values_[index], &tag, &ours) == napi_ok && ours &&
          napi_get_value_external(env_, values_[index], &data) == napi_ok);
    return static_cast<T*>(data);
  }

  /** A property of an object; absent ones are `fallback`. */
  double field(size_t index, const char* name, double fallback = 0) {
    napi_value property = nullptr;
    double value = fallback;
    if (napi_get_named_property(env_, values_[index], name, &property) != napi_ok) return fallback;
    return napi_get_value_double(env_, property, &value) == napi_ok ? value : fallback;
  }
  std::string text_field(size_t index, const char* name) {
    napi_value property = nullptr;
    napi_valuetype type = napi_undefined;
    if (napi_get_named_property(env_, values_[index], name, &property) != napi_ok ||
        napi_typeof(env_, property, &type) != napi_ok || type != napi_string)
      return {};
    return text_of(property);
  }
  bool is_null(size_t index) {
    napi_valuetype type = napi_undefined;
    return napi_typeof(env_, values_[index], &type) == napi_ok && type == napi_null;
  }

  void check(bool fit) {
    if (fit || !fits) return;
    fits = false;
    napi_throw_type_error(env_, nullptr, "culvert-engine: an argument does not fit");
  }

  bool fits = true;

 private:
  explicit Arguments(napi_env env) : env_(env) {}

  std::string text_of(napi_value value) {
    size_t size = 0;
    check(napi_get_value_string_latin1(env_, value, nullptr, 0, &size) == napi_ok);
    if (!fits) return {};
    std::string text(size, '\0');
    napi_get_value_string_latin1(env_, value, text.data(), size + 1, &size);
    return text;
  }

  napi_env env_;
  napi_value values_[kArgumentsMax] = {};
};
