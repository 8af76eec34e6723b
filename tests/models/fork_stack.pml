// SPDX-License-Identifier: MIT
// One fork stack: publication, reclaim, steal and join, as in runtime/include/weir/detail/fork_stack.hpp and
// runtime/src/fork_stack.cpp, whose names are used here.
//
// The owner forks and joins in any order that nests: JOBS forks in all, at most DEPTH open at a time, so that
// slots are used again. Odd jobs are functions, whose join waits; even ones are coroutines, whose join does
// not. Two thieves steal while anything is public. More behaviour, by -D:
//   HELP            a join that waits may do other work on top first
//   HUNGRY          set_hints may ask for one more publication (extra_)
//   POISON          somebody poisons the hints once, at any time, for nothing
//   STOP            the same after stop was requested of the task
//   CONTEXTS        a context_scope begins and ends somewhere between the forks
//   ONE_THIEF       one thief
//   BUFFERED_HINTS  the owner's hints go through buffers too, see below
//
// Checked: each fork is run or dropped once; a thief runs what it has claimed, in the context of the fork; the
// join of a function returns after its end; nobody waits for ever; F3; after a stop the next fork and the next
// join look around.
//
// Memory orders. What the owner stores goes into one-entry buffers, which empty themselves in any order at any
// time:
//   relaxed store              into its buffer
//   seq_cst store              the same, but a seq_cst load of the same thread waits until it is out
//   exchange with release      empties all buffers, then is seen by all
//   acquire load, exchange     reads memory, or the own buffer
// With the seq_cst of set_hints, buffers of the hints change nothing that a thief could tell, and are left out
// to save states; BUFFERED_HINTS checks that. Thieves have no buffers: what a thief does after a store is an
// exchange with release, which comes before whatever could tell. An exchange that is not seq_cst may be seen
// later than a store that follows it, as an AArch64 store-exclusive may: `promised`, in the mutant WEAK_CLAIM.
//
// An exchange in a loop that computes anew what it writes is one step here: its failures have no effect.

#ifndef JOBS
#define JOBS 4
#endif
#ifndef DEPTH
#define DEPTH 3
#endif

#if defined(MUTANT_WEAK_HINTS) && !defined(BUFFERED_HINTS)
#define BUFFERED_HINTS
#endif

// The word. For the version, which in the code does not come back, one bit for each thief: whether what it has
// read is of the present one.
byte tail = 0, split = 0;
bit current[2];
bool promised = false; // an exchange has succeeded and is not seen yet

// The hints: 0 is null, DEPTH the capacity, EVERYTHING the top of memory.
#define EVERYTHING 255
byte guard = 0, floor = 0;

// The slots. In `fork` the job stands for `run` and `data`.
byte fork[DEPTH];
byte state[DEPTH];
#define PENDING 0
#define WAITED_FOR 1
#define DONE 2
bool asleep[DEPTH]; // the owner, in a futex on `state`
#ifdef CONTEXTS
bit context[DEPTH];
#endif

bool stop = false;

// The owner's buffers.
bool fork_out = true, guard_out = true, floor_out = true;
byte fork_later = 0, fork_at = 0, guard_later = 0, floor_later = 0;

// For the checks.
byte top = 0;
short begun = 0, ended = 0;  // sets of jobs
byte taking_last = 0;        // thieves between taking the last one and having poisoned
bool stop_told = false;      // stop was requested and the hints poisoned since
#ifdef CONTEXTS
bit context_of[JOBS + 1];    // where it was forked
#endif

#define is_coroutine(job) ((job) % 2 == 0)
#define has(set, job) (((set) >> (job)) & 1)
#define nothing_public (tail == split)

inline flush_fork() {
  if
  :: !fork_out -> fork[fork_at] = fork_later; fork_later = 0; fork_at = 0; fork_out = true
  :: else
  fi
}
inline flush_guard() {
  if
  :: !guard_out -> guard = guard_later; guard_later = 0; guard_out = true
  :: else
  fi
}
inline flush_floor() {
  if
  :: !floor_out -> floor = floor_later; floor_later = 0; floor_out = true
  :: else
  fi
}

#ifdef BUFFERED_HINTS
#define my_guard (guard_out -> guard : guard_later)
#define my_floor (floor_out -> floor : floor_later)
inline store_guard(value) { d_step { flush_guard(); guard_later = value; guard_out = false } }
inline store_floor(value) { d_step { flush_floor(); floor_later = value; floor_out = false } }
#else
#define my_guard guard
#define my_floor floor
inline store_guard(value) { guard = value }
inline store_floor(value) { floor = value }
#endif

inline flush_all() { flush_fork(); flush_guard(); flush_floor() }
inline new_version() { current[0] = 0; current[1] = 0 }

// The owner ---------------------------------------------------------------------------------------------------

#define NONE 0
#define UNTOUCHED 1
#define STOLEN 2
#define DROPPED 3
#define SHARE 4 // publish
#define RESET 5 // set_hints

inline set_hints() {
  store_floor(split);
#ifdef HUNGRY
  if
  :: store_guard(DEPTH)
  :: store_guard(0)
  fi;
#else
  store_guard(DEPTH);
#endif
  d_step {
#ifndef MUTANT_WEAK_HINTS
    guard_out && floor_out; // seq_cst
#endif
    poison = false;
#ifndef MUTANT_NO_SECOND_LOOK
    poison = nothing_public
#endif
  };
#ifndef MUTANT_NO_LOOK_AT_STOP
  d_step {
    guard_out && floor_out; // seq_cst
    poison = poison || stop
  };
#endif
  if
  :: poison -> store_guard(0); store_floor(EVERYTHING)
  :: else
  fi;
  poison = false
}

inline publish() {
  atomic {
    !promised; // seq_cst, a release
#ifdef CONTEXTS
    i = split;
    do
    :: i < top -> context[i] = my_context; i++
    :: else -> break
    od;
#endif
    i = split;
    do
    :: i < top -> state[i] = PENDING; i++
    :: else -> break
    od;
    i = 0;
#ifndef MUTANT_WEAK_PUBLISH
    flush_all();
#endif
    split = top;
    new_version()
  };
  set_hints()
}

// What is older than a context_scope stays public until it is joined.
#ifdef CONTEXTS
inline keep_pinned() {
  pinned = (pinned < at -> pinned : at);
#ifndef MUTANT_NO_PIN
  split = (split < pinned -> pinned : split)
#endif
}
#else
#define keep_pinned() skip
#endif

inline take_back() {
  if
  :: atomic {
       at >= split -> // private
       if
       :: stop -> how = DROPPED
       :: !stop && at > split -> how = SHARE
       :: !stop && at == split && tail < split -> how = RESET
       :: !stop && at == split && tail == split -> how = UNTOUCHED
       fi
     };
     if
     :: how == SHARE -> publish(); how = UNTOUCHED
     :: how == RESET -> set_hints(); how = UNTOUCHED
     :: how == UNTOUCHED -> store_floor(at)
     :: how == DROPPED
     fi
  :: atomic {
       at < split && !promised -> // acquire-release
#ifdef MUTANT_PLAIN_RECLAIM
       i = tail
     };
     atomic {
       tail = (tail > at -> tail : i);
#endif
       if
       :: tail > at -> how = STOLEN
       :: else ->
          flush_all();
          split = tail + (at - tail + 1) / 2;
          keep_pinned();
          new_version();
          how = (split > tail -> RESET : UNTOUCHED)
       fi;
       i = 0
     };
     if
     :: how == RESET -> set_hints(); how = UNTOUCHED
     :: how == UNTOUCHED -> store_floor(split); store_guard(0)
     :: how == STOLEN
     fi;
     if
     :: how == UNTOUCHED && stop -> how = DROPPED
     :: else
     fi
  fi
}

inline forget_stolen() {
  // A plain store: before and after it nothing is public.
  d_step { assert(nothing_public && !promised); tail = at; split = at; keep_pinned(); new_version() };
  store_floor(at);
  store_guard(0)
}

inline park() {
#ifdef MUTANT_PLAIN_PARK
  if
  :: state[at] == PENDING -> state[at] = WAITED_FOR
  :: else
  fi;
#else
  d_step {
    if
    :: state[at] == PENDING -> state[at] = WAITED_FOR
    :: else
    fi
  };
#endif
  do
  :: atomic { state[at] == WAITED_FOR -> asleep[at] = true };
     !asleep[at]
  :: state[at] != WAITED_FOR -> break
  od
}

// F3, and what it says of stops, whenever the owner is in no slow path and the hints of everybody are out.
inline check_hints() {
  if
  :: guard_out && floor_out && ((nothing_public && taking_last == 0) || stop_told) ->
     assert(guard == 0);
     assert(split == top || floor >= top)
  :: else
  fi
}

active proctype owner() {
  byte job, at, how, i;
  byte mine[DEPTH];
  bool poison, pushes;
#ifdef CONTEXTS
  bit my_context, scoped;
  byte base, pinned;
#else
#define base 0
#endif

  do
  :: atomic {
       job < JOBS && top < DEPTH -> // push
       check_hints();
       pushes = true;
       if
       :: top < my_guard
       :: else ->
          if
          :: stop && !is_coroutine(job + 1) -> pushes = false; job = JOBS
          :: else -> how = SHARE
          fi
       fi;
       if
       :: pushes ->
          job++;
          mine[top] = job;
#ifdef CONTEXTS
          context_of[job] = my_context;
#endif
          flush_fork(); fork_later = job; fork_at = top; fork_out = false;
          top++
       :: else
       fi;
       pushes = false
     };
     if
     :: how == SHARE -> how = NONE; publish()
     :: else
     fi

  :: atomic {
       top > base -> // pop
       check_hints();
       top--;
       at = top;
       how = (at >= my_floor -> UNTOUCHED : NONE)
     };
     if
     :: how == NONE -> take_back()
     :: else
     fi;
     if
     :: how == STOLEN && is_coroutine(mine[at]) -> forget_stolen()
     :: how == STOLEN && !is_coroutine(mine[at]) ->
        top = at + 1;
        store_floor(top);
        store_guard(0);
        if
#ifdef HELP
        :: how = NONE
#endif
        :: park();
           assert(has(ended, mine[at]));
           top = at;
           forget_stolen()
        fi
     :: else
     fi;
     d_step {
       if
       :: how == UNTOUCHED || how == DROPPED ->
          assert(!has(begun, mine[at]));
          begun = begun | (1 << mine[at])
       :: else
       fi;
       if
       :: how != NONE -> mine[at] = 0
       :: else
       fi;
       at = 0; how = NONE
     }

#ifdef CONTEXTS
  :: atomic { !scoped && top > 0 && job < JOBS -> scoped = true }; // a context_scope begins
     if
     :: split < top -> publish()
     :: else
     fi;
     d_step { pinned = top; base = top; my_context = 1 }
  :: atomic { base > 0 && top == base -> base = 0; my_context = 0 } // and ends
#endif

  :: top == 0 && job == JOBS -> break
  od;
  atomic { check_hints() }
}

active proctype memory() {
end:
  do
  :: atomic { !fork_out -> flush_fork() }
#ifdef BUFFERED_HINTS
  :: atomic { !guard_out -> flush_guard() }
  :: atomic { !floor_out -> flush_floor() }
#endif
  od
}

// The thieves -------------------------------------------------------------------------------------------------

#ifdef MUTANT_NO_VERSION
#define exchange_succeeds (tail == seen_tail && split == seen_split)
#else
#define exchange_succeeds (current[me] && tail == seen_tail && split == seen_split)
#endif

inline claim() {
  // Seq_cst; a release, so that the slot was read before.
  if
  :: exchange_succeeds ->
     assert(job != 0 && !has(begun, job));
#ifdef CONTEXTS
     assert(its_context == context_of[job]);
#endif
     begun = begun | (1 << job);
     last = (seen_tail + 1 == seen_split);
     taking_last = taking_last + last;
#ifdef MUTANT_WEAK_CLAIM
     promised = true; mine = true
#else
     tail++
#endif
  :: else -> job = 0
  fi;
  current[me] = 0
}

// Each hint is looked at before it is written.
inline poison_hints() {
  if
  :: guard != 0 -> guard = 0
  :: else
  fi;
  if
  :: floor != EVERYTHING -> floor = EVERYTHING
  :: else
  fi
}

proctype thief(bit me) {
  byte seen_tail, seen_split, job;
  bool last;
#ifdef MUTANT_WEAK_CLAIM
  bool mine;
#endif
#ifdef CONTEXTS
  bit its_context;
#endif

end:
  do
#ifdef MUTANT_READ_FIRST
  :: atomic { tail < split -> seen_tail = tail; job = fork[tail] };
     atomic {
       if
       :: tail < split && seen_tail == tail -> seen_split = split; current[me] = 1
       :: else // the exchange will fail
       fi
     };
#else
  :: atomic { tail < split -> seen_tail = tail; seen_split = split; current[me] = 1 }; // acquire
     job = fork[seen_tail];
#endif
#ifdef CONTEXTS
     its_context = context[seen_tail];
#endif
     atomic { !promised; claim() };
     if
     :: last ->
#ifndef MUTANT_NO_POISON
        poison_hints();
#endif
        d_step { last = false; taking_last-- }
     :: else
     fi;
#ifdef MUTANT_WEAK_CLAIM
     if
     :: mine -> d_step { promised = false; mine = false; tail++ }
     :: else
     fi;
#endif
     if
     :: job != 0 && !is_coroutine(job) ->
        d_step { // acquire-release
          ended = ended | (1 << job);
          job = state[seen_tail];
          state[seen_tail] = DONE
        };
#ifndef MUTANT_NO_WAKE
        if
        :: job == WAITED_FOR -> asleep[seen_tail] = false
        :: else
        fi
#endif
     :: else
     fi;
     d_step { seen_tail = 0; seen_split = 0; job = 0 }
  od
}

proctype poisoner() {
#ifdef STOP
  stop = true;
#endif
  poison_hints();
  stop_told = stop
}

init {
  atomic {
    run thief(0);
#ifndef ONE_THIEF
    run thief(1);
#endif
#if defined(STOP) || defined(POISON)
    run poisoner()
#endif
  }
}
