// SPDX-License-Identifier: MIT
// Forks and sleepers: nobody stays asleep while a published fork waits and nobody searches. The owner is that of
// runtime/src/fork_stack.cpp, the others are workers in wait_for_work of runtime/src/worker.cpp, W1 to W3 as in
// runtime/src/idle_set.hpp. What is in the slots, and how a join waits, is in fork_stack.pml; how sleepers are
// kept, in parking.pml.
//
// The owner pushes and pops in any order that nests, FORKS in all, DEPTH open at a time, and at any time may begin
// a job without end: from then on only the others can help. WORKERS others search, LIMIT at a time; each finds
// work of another kind at most once, and any of their jobs may be without end too.
//
// Checked, when nothing can go on any more: nobody sleeps, or nothing is public; and if nothing is public, the
// owner's next fork would be published (F3).
//
// Memory orders. The argument needs pairs of "write mine, read theirs": the publishing exchange of the word and
// W1's read of the idle word on one side; on the other the exchange of the idle word, when a worker goes to sleep
// or stops searching, and the look at the word in W3 or W2. All are seq_cst: each is one step, in one order. Where
// a mutant makes such an exchange weaker, it has succeeded, so that no other one comes between, but is seen only
// after the read that follows it.

#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef LIMIT
#define LIMIT 1
#endif
#ifndef FORKS
#define FORKS 5
#endif
#ifndef DEPTH
#define DEPTH 3
#endif

// The stack's word, and the hint for the next push.
byte tail = 0, split = 0;
byte guard = 0;

// The idle word: how many search, and the set of sleepers.
byte searching = 0, sleeping = 0;

bool notified[WORKERS]; // the parkers

#ifdef MUTANT_WEAK_PUBLISH
bool word_promised = false;
#else
#define word_promised false
#endif
#ifdef MUTANT_WEAK_SLEEP
bool idle_promised = false;
#else
#define idle_promised false
#endif

byte top = 0;
bool owner_rests = false;

#define NOBODY 9
#define has_public (tail < split)
#define bit_of(me) (1 << (me))

// Takes a sleeper, any of them, off the set if nobody searches, and wakes it.
inline wake_another() {
  atomic {
    if
    :: searching == 0 && sleeping != 0 && !idle_promised ->
       if
       :: sleeping & bit_of(0) -> woken = 0
       :: sleeping & bit_of(1) -> woken = 1
#if WORKERS > 2
       :: sleeping & bit_of(2) -> woken = 2
#endif
       fi;
       searching++;
       sleeping = sleeping & ~bit_of(woken)
    :: searching != 0 || sleeping == 0 // a load sees no more
    fi
  };
  if
  :: woken != NOBODY -> atomic { notified[woken] = true; woken = NOBODY }
  :: else
  fi
}

inline set_hints() {
  guard = DEPTH;
  if
#ifndef MUTANT_NO_SECOND_LOOK
  :: !has_public -> guard = 0
#endif
  :: else
  fi
}

inline publish() {
#ifdef MUTANT_WEAK_PUBLISH
  d_step { word_promised = true; later = top };
  wake_another();
  d_step { split = later; later = 0; word_promised = false };
  set_hints()
#else
  split = top;
  set_hints();
#ifndef MUTANT_NO_W1
  wake_another()
#endif
#endif
}

active proctype owner() {
  byte forks, woken = NOBODY;
#ifdef MUTANT_WEAK_PUBLISH
  byte later;
#endif
  do
  :: atomic { forks < FORKS && top < DEPTH -> forks++; top++ }; // push
     if
     :: top > guard -> publish()
     :: else
     fi
  :: atomic { top > 0 -> top-- }; // pop
     if
     :: top >= split // private
     :: atomic {
          top < split ->
          if
          :: tail <= top -> split = tail + (top - tail + 1) / 2
          :: else -> tail = top; split = top // it was stolen; its join is over
          fi
        };
        if
        :: has_public -> set_hints()
        :: else -> guard = 0
        fi
     fi
  :: break
  od;
  owner_rests = true
}

proctype worker(byte me) {
  byte woken = NOBODY;
  bool searches, look, elsewhere;

busy:
  atomic { // start_searching
    !idle_promised;
    if
    :: searching < LIMIT -> searching++; searches = true
    :: else
    fi
  };
next:
  if
  :: !searches
  :: searches -> // one look around, the last one of a search
     if
     :: atomic {
          !word_promised;
          if
          :: has_public -> tail++; look = (tail == split)
          :: else -> goto sleep
          fi
        };
        if
#ifndef MUTANT_NO_POISON
        :: look -> guard = 0
#endif
        :: else
        fi
     :: atomic { !elsewhere -> elsewhere = true }
     fi;
     atomic { // stop_searching
       searches = false;
       searching--;
       look = (searching == 0)
     };
#ifndef MUTANT_NO_W2
     if
     :: look && has_public -> look = false; wake_another()
     :: else -> look = false
     fi;
#endif
     if
     :: goto busy
     :: goto ends // the job never does
     fi
  fi;

sleep:
#ifdef MUTANT_WEAK_SLEEP
  atomic { !idle_promised -> idle_promised = true; look = (searching - searches == 0) };
  look = look && has_public;
  atomic {
    idle_promised = false;
    sleeping = sleeping | bit_of(me);
    searching = searching - searches;
    searches = false
  };
#else
  atomic { // push
    sleeping = sleeping | bit_of(me);
    searching = searching - searches;
    searches = false;
    look = (searching == 0)
  };
#ifdef MUTANT_NO_W3
  look = false;
#else
  look = look && has_public;
#endif
#endif
  if
  :: look -> look = false; wake_another()
  :: else
  fi;
end:
  atomic { notified[me] -> notified[me] = false; searches = true }; // whoever woke it has counted it
  goto next;
ends:
  skip
}

init {
  atomic {
    run worker(0);
    run worker(1);
#if WORKERS > 2
    run worker(2)
#endif
  };
  timeout;
  assert(!has_public || sleeping == 0);
  assert(has_public || guard == 0)
}
