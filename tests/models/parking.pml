// SPDX-License-Identifier: MIT
// Sleeping and waking: the word of runtime/src/idle_set.hpp with its stack of sleepers and its keeper, the beds of
// runtime/src/parker.hpp, and W1 to W4 as worker::wait_for_work has them (docs/scheduler.md).
//
// OUTSIDE other threads submit ITEMS in all. WORKERS workers take them, search, LIMIT at a time, and sleep; any
// job may last for ever. With ALL_SLEEP they begin asleep. With SLOTS one more worker, which never sleeps, puts so
// many jobs into its next slot; it runs each of them, or for ever what it runs just then. Timers, pokes, and workers
// that come and go are left out.
//
// Checked, when nothing can go on any more: no item and no job in a slot waits while somebody sleeps. Always: only who is in the idle
// word is taken out of it.
//
// Memory orders. An exchange of the idle word, and a look at it or at the queue, is one step: all are seq_cst. The
// queue is a count; the mutant WEAK_PUBLISH lets its publication wait in a store buffer. `next` comes with the
// exchange of the idle word that publishes it.

#ifndef WORKERS
#define WORKERS 3
#endif
#ifndef ITEMS
#define ITEMS 2
#endif
#ifndef LIMIT
#define LIMIT 1
#endif
#ifndef OUTSIDE
#define OUTSIDE 2
#endif
#ifdef SLOTS
#define PROCESSES (WORKERS + OUTSIDE + 1)
#else
#define PROCESSES (WORKERS + OUTSIDE)
#define SLOTS 0
#endif

// The idle word; indices are counted from 1, 0 is nobody. For the tag, one bit for each reader: whether the tag
// that it has read is the present one.
byte stack = 0, keeper = 0, searching = 0;
bool watched = false;
bit current[PROCESSES];
byte next_[WORKERS + 1];

// The parkers.
#define EMPTY 0
#define NOTIFIED 1
#define SLEEPING 2
byte bed[WORKERS + 1];
bool asleep[WORKERS + 1]; // in the futex

byte queue = 0;
byte queue_later = 0; // published, in a store buffer
byte submitted = 0;
bool slot = false;
byte slot_runs = 0; // jobs that the slot's worker has run

bool listed[WORKERS + 1]; // for the check: who is in the idle word

#ifdef MUTANT_NO_TAG
#define same_tag (stack == seen_stack && keeper == seen_keeper)
#else
#define same_tag current[me]
#endif

inline new_tag() {
  k = 0;
  do
  :: k < PROCESSES -> current[k] = 0; k++
  :: else -> break
  od;
  k = 0
}

inline look_at_word() { seen_stack = stack; seen_keeper = keeper; seen_searching = searching; current[me] = 1 }

// W1's "pop_if_nobody_searches", and unpark.
inline wake_sleeper() {
  d_step { look_at_word() };
  do
  :: seen_searching == 0 && (seen_stack != 0 || seen_keeper != 0) ->
     popped = next_[seen_stack];
     atomic {
#ifdef MUTANT_NO_TAG
       me != WORKERS || submitted == ITEMS; // one of them is slow, to find it soon
#endif
       if
       :: same_tag && searching == seen_searching ->
          searching++;
          if
          :: seen_stack != 0 -> stack = popped; popped = seen_stack
          :: else -> keeper = 0; popped = seen_keeper
          fi;
#ifndef MUTANT_WATCH_STAYS
          watched = false;
#endif
          assert(listed[popped]);
          woke = true;
          listed[popped] = false;
          new_tag();
          seen_stack = 0; seen_keeper = 0; seen_searching = 0;
          break
       :: else -> popped = 0; look_at_word()
       fi
     }
  :: else -> atomic { current[me] = 0; seen_stack = 0; seen_keeper = 0; seen_searching = 0; break }
  od;
  if
  :: popped != 0 ->
#ifdef MUTANT_UNPARK_FORGETS
     d_step {
       if
       :: bed[popped] == SLEEPING -> bed[popped] = NOTIFIED; asleep[popped] = false
       :: else
       fi;
       popped = 0
     }
#else
     atomic {
       k = bed[popped];
       bed[popped] = NOTIFIED;
       if
       :: k == SLEEPING -> k = 0
       :: else -> k = 0; popped = 0
       fi
     };
     if
     :: popped != 0 -> d_step { asleep[popped] = false; popped = 0 } // futex_wake
     :: else
     fi
#endif
  :: else
  fi
}

inline wake_another() { wake_sleeper(); woke = false }

// W2's and W3's look at all queues, if `look`.
inline look_around() {
  if
  :: look && !watched -> k = 1 // before it looks at the slots
  :: else
  fi;
  look = look && (queue > 0 || (k == 1 && slot));
  k = 0
}

proctype outside(byte me) {
  bool woke;
  byte k, popped, seen_stack, seen_keeper, seen_searching;
  do
  :: atomic {
       submitted < ITEMS -> submitted++;
#ifdef MUTANT_WEAK_PUBLISH
       queue_later++
#else
       queue++
#endif
     };
#ifndef MUTANT_NO_W1
     wake_another() // W1
#endif
  :: submitted == ITEMS -> break
  od
}

// Another worker's next slot: push_next, and its own take.
proctype slot_worker(byte me) {
  bool woke;
  byte k, popped, seen_stack, seen_keeper, seen_searching, pushed;
  do
  :: pushed < SLOTS ->
     atomic { !slot; slot = true; pushed++ };
     k = (searching == 0 && (stack != 0 || keeper != 0) && !watched); // W4
     if
     :: k == 1 -> k = 0; wake_another() // W1
     :: else
     fi;
     if
     :: atomic { slot -> slot = false; slot_runs++ }
     :: !slot // a thief has it
     :: break
     fi
  :: else -> break
  od
}

proctype worker(byte self; byte me) {
  bool woke;
  byte k, popped, seen_stack, seen_keeper, seen_searching, seen_runs;
  bool searches, look, moves, watches;

#ifdef ALL_SLEEP
  goto park;
#endif
busy:
  if
  :: atomic { queue > 0 -> queue-- };
     if
     :: goto busy
     :: goto rests
     fi
  :: atomic { queue == 0 -> skip }
  fi;
  d_step { // start_searching
    if
    :: searching < LIMIT -> searching++; searches = true
    :: else
    fi
  };
loop:
  if
  :: searches ->
     if
     :: atomic { queue > 0 -> queue-- };
        d_step { searches = false; moves = false; searching--; look = (searching == 0) };
#ifndef MUTANT_NO_W2
        look_around();
        if
        :: look -> look = false; wake_another() // W2
        :: else
        fi;
#endif
        if
        :: look = false; goto busy
        :: goto rests
        fi
     :: atomic { queue == 0 -> skip }
     fi;
#if SLOTS > 0
     seen_runs = slot_runs;
     d_step { // steal_next
       if
       :: seen_runs != slot_runs -> moves = true
       :: seen_runs == slot_runs && slot -> slot = false; k = 1
       :: seen_runs == slot_runs -> skip // it was empty before
       fi;
       seen_runs = 0
     };
     if
     :: k == 1 ->
        k = 0;
        d_step { searches = false; moves = false; searching--; look = (searching == 0) };
#ifndef MUTANT_NO_W2
        look_around();
        if
        :: look -> look = false; wake_another() // W2
        :: else
        fi;
#endif
        look = false;
        goto busy
     :: else
     fi
#endif
  :: else
  fi;
  atomic { // push
    listed[self] = true;
    if
    :: keeper == 0 -> keeper = self
    :: else -> next_[self] = stack; stack = self
    fi;
    new_tag();
    watches = searches && moves;
    moves = false;
    watched = watched || watches;
    searching = searching - searches;
    searches = false;
    look = (searching == 0)
  };
#ifndef MUTANT_NO_W3
  look_around();
  if
  :: look -> look = false; wake_another() // W3
  :: else
  fi;
#endif
  look = false;
park:
  atomic {
    if
    :: bed[self] == EMPTY -> bed[self] = SLEEPING
    :: else
    fi
  };
  do
  :: atomic { bed[self] == SLEEPING -> asleep[self] = true };
end:
     if
     :: !asleep[self]
#ifndef MUTANT_NO_WATCH
     :: atomic { watches -> asleep[self] = false }; // its time is over
        if
        :: atomic { bed[self] == SLEEPING -> bed[self] = EMPTY };
           if
           :: !watched -> watches = false
           :: else ->
              wake_sleeper(); // W4
              watches = !woke; // somebody searches
              woke = false
           fi;
           goto park
        :: atomic { bed[self] != SLEEPING -> skip }
        fi
#endif
     fi
  :: atomic { bed[self] != SLEEPING -> bed[self] = EMPTY; searches = true; watches = false; break } // counted by who woke it
  od;
  goto loop;
rests:
  skip
}

#ifdef MUTANT_WEAK_PUBLISH
active proctype memory() {
end:
  do
  :: atomic { queue_later > 0 -> queue = queue + queue_later; queue_later = 0 }
  od
}
#endif

init {
  byte i;
  atomic {
#ifdef ALL_SLEEP
    keeper = 1; stack = WORKERS;
    i = 3;
    do
    :: i <= WORKERS -> next_[i] = i - 1; i++
    :: else -> break
    od;
#endif
    i = 1;
    do
    :: i <= WORKERS ->
#ifdef ALL_SLEEP
       listed[i] = true;
#endif
       run worker(i, i - 1); i++
    :: else -> break
    od;
    run outside(WORKERS);
#if OUTSIDE > 1
    run outside(WORKERS + 1);
#endif
#if SLOTS > 0
    run slot_worker(WORKERS + OUTSIDE)
#endif
  };
  timeout;
  assert((queue == 0 && !slot) || (stack == 0 && keeper == 0))
}
