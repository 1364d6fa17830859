// Plain structs as Python classes: made from keywords, their members attributes. What goes by name cannot change
// places.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bindings/python.h"

namespace a3c::bindings {

// The names of an enumeration's values, in their order.
template <typename Enum>
using Names = std::vector<std::pair<const char*, Enum>>;

template <typename Enum>
Enum enumerator(const char* field, const Names<Enum>& names, const std::string& name) {
  std::string allowed;
  for (const auto& [text, value] : names) {
    if (name == text) return value;
    allowed += (allowed.empty() ? "" : ", ") + std::string(text);
  }
  throw std::invalid_argument(std::string(field) + " " + name + " is not supported: it must be one of " + allowed);
}

template <typename T>
class Fields {
 public:
  Fields(py::module_& m, const char* name) : class_(m, name) {
    class_.def(py::init([required = required_, name](const py::kwargs& given) {
      auto value = std::make_unique<T>();
      const py::object object = py::cast(value.get(), py::return_value_policy::reference);
      for (const auto& [key, field] : given) {
        if (!py::hasattr(object, key))
          throw py::type_error(std::string(name) + " has no " + key.template cast<std::string>());
        py::setattr(object, key, field);
      }
      for (const char* field : *required)
        if (!given.contains(field)) throw py::type_error(std::string(name) + " needs " + field);
      return value;
    }));
  }

  // `optional`: it may be left out, and is then as the struct has it.
  template <typename Member>
  Fields& field(const char* name, Member T::* member, bool optional = false) {
    class_.def_readwrite(name, member);
    if (!optional) required_->push_back(name);
    return *this;
  }

  // An enumeration, in Python a string.
  template <typename Enum>
  Fields& field(const char* name, Enum T::* member, Names<Enum> names, bool optional = false) {
    class_.def_property(
        name,
        [member, names](const T& value) {
          for (const auto& [text, enumerator] : names)
            if (value.*member == enumerator) return text;
          throw std::logic_error("an enumerator without a name");
        },
        [name, member, names](T& value, const std::string& text) { value.*member = enumerator(name, names, text); });
    if (!optional) required_->push_back(name);
    return *this;
  }

 private:
  py::class_<T> class_;
  std::shared_ptr<std::vector<const char*>> required_ = std::make_shared<std::vector<const char*>>();
};

}  // namespace a3c::bindings
