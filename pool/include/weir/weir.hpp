// SPDX-License-Identifier: MIT
/// \file
/// All of weir.
#pragma once

#include <weir/blocking.hpp>
#include <weir/blocking_executor.hpp>
#include <weir/clock.hpp>
#include <weir/cpus.hpp>
#include <weir/error.hpp>
#include <weir/executor.hpp>
#include <weir/handle.hpp>
#include <weir/manual_clock.hpp>
#include <weir/pool/fixed_pool.hpp>
#include <weir/runtime.hpp>
#include <weir/sleep.hpp>
#include <weir/stats.hpp>
#include <weir/stop_reason.hpp>
#include <weir/stop_token.hpp>
#include <weir/task.hpp>
#include <weir/this_task.hpp>
#include <weir/version.hpp>
