// The extension a3c_fast_steps: the loop over a worker's environments in their process, a3c_fast/envs/child.
//
// What a step of an environment costs beside the environment itself is here: its result is taken apart, looked at and
// copied into shared memory. It is a module
// of its own, since the child loads neither torch nor a3c_fast_core, and written for the C API, without NumPy's
// headers.
#include <Python.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr uint8_t kTerminated = 1, kTruncated = 2;  // ProcessFlag of env/process/process_client.h

struct Stepper {
  PyObject_HEAD;
  PyObject* steps;  // a tuple of what steps each environment
  Py_buffer over, rewards, flags, rows;
  std::string* format;  // of an observation, as the buffer protocol has it
  std::vector<Py_ssize_t>* shape;
};

Stepper* self_of(PyObject* object) {
  return reinterpret_cast<Stepper*>(object);
}

// Copies an observation of the shape that a row has and of its type, or of float64 into one of float32; false for
// another, which raises nothing.
bool copy_row(Stepper* self, PyObject* observation, Py_ssize_t env) {
  Py_buffer view;
  if (PyObject_GetBuffer(observation, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
    PyErr_Clear();
    return false;
  }
  const auto dimensions = static_cast<Py_ssize_t>(self->shape->size());
  const Py_ssize_t size = self->rows.len / PyTuple_GET_SIZE(self->steps);
  bool fits = view.ndim == dimensions && view.format;
  for (Py_ssize_t i = 0; fits && i < dimensions; ++i) fits = view.shape[i] == (*self->shape)[i];
  char* const row = static_cast<char*>(self->rows.buf) + env * size;
  if (fits && *self->format == view.format && view.len == size) {
    std::memcpy(row, view.buf, static_cast<size_t>(size));
  } else if (fits && *self->format == "f" && std::strcmp(view.format, "d") == 0 && view.len == 2 * size) {
    const auto* from = static_cast<const double*>(view.buf);
    std::transform(from, from + size / 4, reinterpret_cast<float*>(row),
                   [](double x) { return static_cast<float>(x); });
  } else {
    fits = false;
  }
  PyBuffer_Release(&view);
  return fits;
}

// The result of a step, taken apart and written; false for what Python is to look at, which raises nothing.
bool show(Stepper* self, PyObject* result, Py_ssize_t env) {
  if (!PyTuple_CheckExact(result) || PyTuple_GET_SIZE(result) != 5) return false;
  PyObject* const reward = PyTuple_GET_ITEM(result, 1);
  if (!PyFloat_Check(reward)) return false;
  uint8_t flags = 0;
  for (int i = 0; i < 2; ++i) {
    PyObject* const ended = PyTuple_GET_ITEM(result, 2 + i);
    const int is_true = ended == Py_False ? 0 : PyObject_IsTrue(ended);
    if (is_true < 0) {
      PyErr_Clear();
      return false;
    }
    if (is_true) flags |= i == 0 ? kTerminated : kTruncated;
  }
  if (!copy_row(self, PyTuple_GET_ITEM(result, 0), env)) return false;
  static_cast<double*>(self->rewards.buf)[env] = PyFloat_AS_DOUBLE(reward);
  static_cast<uint8_t*>(self->flags.buf)[env] = flags;
  static_cast<uint8_t*>(self->over.buf)[env] = flags != 0;
  return true;
}

// step(actions, first) -> None where all from the first on have stepped, else (environment, result) of one that
// Python is to see to: its result is unusual, or None since it is over and must be reset.
PyObject* step(PyObject* object, PyObject* const* arguments, Py_ssize_t count) {
  Stepper* const self = self_of(object);
  const Py_ssize_t num_envs = PyTuple_GET_SIZE(self->steps);
  if (count != 2 || !PyList_CheckExact(arguments[0]) || PyList_GET_SIZE(arguments[0]) != num_envs) {
    PyErr_SetString(PyExc_TypeError, "step() takes a list of actions and the number of the first environment");
    return nullptr;
  }
  const Py_ssize_t first = PyLong_AsSsize_t(arguments[1]);
  if (first < 0) {
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "there is no such environment");
    return nullptr;
  }
  for (Py_ssize_t env = first; env < num_envs; ++env) {
    if (static_cast<const uint8_t*>(self->over.buf)[env]) return Py_BuildValue("(nO)", env, Py_None);
    PyObject* const result =
        PyObject_CallOneArg(PyTuple_GET_ITEM(self->steps, env), PyList_GET_ITEM(arguments[0], env));
    if (!result) return nullptr;
    if (!show(self, result, env)) return Py_BuildValue("(nN)", env, result);
    Py_DECREF(result);
  }
  Py_RETURN_NONE;
}

void release(PyObject* object) {
  Stepper* const self = self_of(object);
  PyTypeObject* const type = Py_TYPE(object);
  Py_XDECREF(self->steps);
  for (Py_buffer* buffer : {&self->over, &self->rewards, &self->flags, &self->rows})
    if (buffer->obj) PyBuffer_Release(buffer);
  delete self->format;
  delete self->shape;
  type->tp_free(object);
  Py_DECREF(type);
}

// Stepper(steps, over, rewards, flags, rows, format, shape)
PyObject* make(PyTypeObject* type, PyObject* arguments, PyObject*) {
  PyObject *steps, *shape;
  const char* format;
  PyObject* buffers[4];
  if (!PyArg_ParseTuple(arguments, "O!OOOOsO!", &PyTuple_Type, &steps, &buffers[0], &buffers[1], &buffers[2],
                        &buffers[3], &format, &PyTuple_Type, &shape))
    return nullptr;
  PyObject* const object = type->tp_alloc(type, 0);
  if (!object) return nullptr;
  Stepper* const self = self_of(object);
  self->steps = Py_NewRef(steps);
  self->format = new std::string(format);
  self->shape = new std::vector<Py_ssize_t>;
  Py_buffer* const views[] = {&self->over, &self->rewards, &self->flags, &self->rows};
  bool made = true;
  for (int i = 0; made && i < 4; ++i) made = PyObject_GetBuffer(buffers[i], views[i], PyBUF_WRITABLE) == 0;
  for (Py_ssize_t i = 0; made && i < PyTuple_GET_SIZE(shape); ++i) {
    self->shape->push_back(PyLong_AsSsize_t(PyTuple_GET_ITEM(shape, i)));
    made = !PyErr_Occurred();
  }
  const Py_ssize_t num_envs = PyTuple_GET_SIZE(steps);
  if (made && (num_envs == 0 || self->over.len != num_envs || self->flags.len != num_envs ||
               self->rewards.len != 8 * num_envs || self->rows.len % num_envs != 0)) {
    PyErr_SetString(PyExc_ValueError, "the memory does not fit the environments");
    made = false;
  }
  if (made) return object;
  Py_DECREF(object);
  return nullptr;
}

PyMethodDef methods[] = {{"step", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(&step)), METH_FASTCALL,
                          "step(actions, first) -> None, or (environment, result) of one that Python is to see to"},
                         {nullptr, nullptr, 0, nullptr}};

PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(&make)},
                       {Py_tp_dealloc, reinterpret_cast<void*>(&release)},
                       {Py_tp_methods, methods},
                       {0, nullptr}};

PyType_Spec spec = {"a3c_fast_steps.Stepper", sizeof(Stepper), 0, Py_TPFLAGS_DEFAULT, slots};

PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "a3c_fast_steps", nullptr, -1, nullptr, nullptr, nullptr, nullptr, nullptr};

}  // namespace

PyMODINIT_FUNC PyInit_a3c_fast_steps() {
  PyObject* const made = PyModule_Create(&module);
  if (!made) return nullptr;
  PyObject* const type = PyType_FromSpec(&spec);
  if (!type || PyModule_AddObjectRef(made, "Stepper", type) != 0) {
    Py_XDECREF(type);
    Py_DECREF(made);
    return nullptr;
  }
  Py_DECREF(type);
  return made;
}
