#include "fields.h"

#include <algorithm>

#include "hop.h"
#include "worker.h"

namespace {

nghttp2_nv field(const std::string& name, const std::string& value) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
          reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

}  // namespace

std::vector<nghttp2_nv> fields(const std::vector<std::string>& pairs) {
  std::vector<nghttp2_nv> list;
  for (size_t i = 0; i + 1 < pairs.size(); i += 2) list.push_back(field(pairs[i], pairs[i + 1]));
  return list;
}

std::string fill(Worker& worker, const std::string& text, const std::string& source) {
  if (std::none_of(text.begin(), text.end(), [](char c) { return c >= kSourcePart && c <= kSpanPart; })) return text;
  std::string filled;
  for (const char c : text) {
    if (c == kSourcePart)
      filled += source;
    else if (c == kTracePart)
      filled += worker.random_hex(32);
    else if (c == kSpanPart)
      filled += worker.random_hex(16);
    else
      filled += c;
  }
  return filled;
}
