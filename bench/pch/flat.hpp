// SPDX-License-Identifier: MIT
// What all questions about flat work include, compiled once.
#include "../question.hpp"
