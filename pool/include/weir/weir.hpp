// SPDX-License-Identifier: MIT
/// \file
/// All of weir.
#pragma once

#include <weir/as_completed.hpp>
#include <weir/awaitable.hpp>
#include <weir/clock.hpp>
#include <weir/cpus.hpp>
#include <weir/error.hpp>
#include <weir/handle.hpp>
#include <weir/manual_clock.hpp>
#include <weir/pool/fixed_pool.hpp>
#include <weir/runtime.hpp>
#include <weir/shield.hpp>
#include <weir/sleep.hpp>
#include <weir/stats.hpp>
#include <weir/stop_reason.hpp>
#include <weir/stop_token.hpp>
#include <weir/stoppable_token.hpp>
#include <weir/task.hpp>
#include <weir/task_group.hpp>
#include <weir/this_task.hpp>
#include <weir/version.hpp>
#include <weir/when_all.hpp>
#include <weir/when_any.hpp>
#include <weir/with_stop_token.hpp>
#include <weir/with_timeout.hpp>
