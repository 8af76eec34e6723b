// SPDX-License-Identifier: MIT
/// \file
/// All of weir.
#pragma once

#include <weir/barrier.hpp>
#include <weir/blocking.hpp>
#include <weir/blocking_executor.hpp>
#include <weir/clock.hpp>
#include <weir/condition.hpp>
#include <weir/cpus.hpp>
#include <weir/error.hpp>
#include <weir/event.hpp>
#include <weir/executor.hpp>
#include <weir/handle.hpp>
#include <weir/latch.hpp>
#include <weir/manual_clock.hpp>
#include <weir/mutex.hpp>
#include <weir/pool/fixed_pool.hpp>
#include <weir/queue.hpp>
#include <weir/runtime.hpp>
#include <weir/semaphore.hpp>
#include <weir/sleep.hpp>
#include <weir/stats.hpp>
#include <weir/stop_reason.hpp>
#include <weir/stop_token.hpp>
#include <weir/strand.hpp>
#include <weir/task.hpp>
#include <weir/this_task.hpp>
#include <weir/version.hpp>
