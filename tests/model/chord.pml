/*
 * The ring's operations, for spin: `make model` says what to look for, and docs/reference/model.md what was found.
 *
 * This file says who may do what and when; what a step does to the world is C (spin's embedded C code): operations.c has ring mode's
 * operations, forming.c those of a ring that forms, properties.c what is checked, model.c the steps, failures and the judgement.
 * After every step the world is judged; between any two steps any other node may act.
 *
 * As in the protocol:
 * - A query is answered from what the other node is then; what follows from the answer happens when it arrives, any time later, even
 *   after the one who answered, or was found dead, has died, restarted or joined again. So it is with a notification, the answer to a
 *   request to join a ring, the proof that a predecessor is dead, and the round of questions that finds a ring small.
 * - A node has one round of upkeep under way, and drops an answer to it if its list changed since. It notifies nobody who takes it for
 *   its predecessor already.
 * - Who comes over to a ring that forms, from the ring of before, lets nobody in until all on its map have that map; who went to the ring
 *   keeps whom it confirmed, for when it comes back. That the ring has formed is believed only of the map with which it was asked for.
 * - A node that failed may come back; each attempt to join is another life, and what is known of earlier ones is known to be of those.
 * - Who leaves asks all around, or says so on the map, and goes when it may (LEAVES).
 *
 * Forming members exchange maps in one step, and confirm without one: who has the very same map, in the same era, may have answered so.
 * What follows from the last confirmation (a member, the ring, gone) is a step of its own, any time later. SLOW_MAPS: what an exchange
 * brings that is new, that the ring has formed, and that somebody is dead arrive any time later as well.
 *
 * Left out:
 * - Silence is death: nobody who lives is taken for dead (though an old proof of death may arrive late), and no reply is lost. So nobody
 *   who lives finds its own life gone.
 * - A failure leaves every member a live successor and r + 1 members skipped by no list, whether the answers on their way have arrived
 *   or not: Zave's assumption, for answers that take time. MEAN_FAILURES does not count answers on their way. Whom a map has in a former
 *   life, it skips. In a ring that forms, with nobody on a ring or about to be, any node may fail but the last and but the last member that
 *   a joiner knows, or one that came over and is not known to all on its map, until somebody's map has r + 2 nodes: then three must be
 *   left that stay and are on every such map, and nobody may have r dead ones in a row before it, as all know together.
 * - AT_ONCE, with COARSE and TOGETHER: a round of upkeep, exchanges of maps and answers to a JOIN are done in the step that begins them. Then a failure
 *   counts whoever a map does not name as skipped by it, for it may be, once the map is a list.
 * - A leave from a ring of r + 3 or more is under the same assumption. One by the map is under none but that no joiner is orphaned, and
 *   that nobody stands on the former ring, or is about to, of whom the leaver has yet to hear. Who loses patience fails.
 * - Finding whom to ask to be let in: any member may be asked, and refuses if it is not the right one.
 * - A query reaches the other at once; that the reply takes long is what matters. A round of questions around a small ring is answered at
 *   one instant. A joiner has the map of the ring that forms at once: who learns of it later would be named by an exchange before.
 * - QUIET leaves out queries that change nothing and of which the notification changes nothing.
 * - Of lives, that two differ and which is the present one; all that are over count as one, and lists do not tell them apart. Of eras, their
 *   order.
 * - Where damage is not looked past (DAMAGE), nothing cuts a list at its owner, as the protocol does: that it was needed is a breach.
 * - Two rings and how they merge, what happens once a whole list has died (which is judged a breach), fingers, records.
 */

c_decl { \#include "chord.h" };
c_state "World w" "Global"
c_code { \#include "model.c" };

#ifndef BUDGET
#define BUDGET 255
#endif
#ifndef START
#define START 1
#endif

bool broken = false;

/* SYMMETRY keeps of all turns of the circle one: a list counts from its owner. */

/* spin takes a name followed at once by a parenthesis for a side effect in c_expr: hence the spaces. */
#define STEP(can, act, text) \
  :: d_step { c_expr { can } -> c_code { act; tell(&now.w, text); after(&now.w); now.broken = now.w.broken != 0; }; assert(!broken) }

#define AT(i) \
  STEP(can_ask (&now.w, i), do_ask(&now.w, i), #i " asks") \
  STEP(can_apply (&now.w, i), apply(&now.w, i), #i " hears") \
  STEP(can_rectify (&now.w, i), do_rectify(&now.w, i), #i " rectifies") \
  STEP(can_fail (&now.w, i), do_fail(&now.w, i), #i " FAILS") \
  FORM(i) LEAVE(i)

#ifdef FORMING
#define FORM(i) \
  STEP(can_regroup (&now.w, i) && within_eras (&now.w, i), do_regroup(&now.w, i, UP), #i " asks all around") \
  STEP(can_conclude (&now.w, i), do_conclude(&now.w, i), #i " hears the last confirmation")
#define EXCHANGE(m, x) STEP(can_exchange (&now.w, m, x), do_exchange(&now.w, m, x), #m " exchanges with " #x)
#else
#define FORM(i)
#define EXCHANGE(m, x)
#endif

#ifdef LEAVES
#define LEAVE(i) STEP(can_leave (&now.w, i), do_leave(&now.w, i), #i " is to LEAVE")
#define TELL(i, x) STEP(can_tell (&now.w, i, x), do_tell(&now.w, i, x), #x " hears that " #i " has left")
#else
#define LEAVE(i)
#define TELL(i, x)
#endif

#define JOIN(j, m) EXCHANGE(j, m) TELL(j, m) STEP(can_join (&now.w, j, m), do_join(&now.w, j, m), #j " asks " #m " to let it join")

active proctype ring() {
#ifdef FORMING
  c_code { begin(&now.w, START, BUDGET); };
#else
  if
  :: c_code { begin(&now.w, 7, BUDGET); }
#if NODES == 5
  :: c_code { begin(&now.w, 11, BUDGET); }
#endif
#if NODES == 6
  :: c_code { begin(&now.w, 11, BUDGET); }
  :: c_code { begin(&now.w, 19, BUDGET); }
  :: c_code { begin(&now.w, 21, BUDGET); }
#endif
  fi;
#endif
end:
  do
    AT(0) AT(1) AT(2) AT(3)
    JOIN(0, 1) JOIN(0, 2) JOIN(0, 3)
    JOIN(1, 0) JOIN(1, 2) JOIN(1, 3)
    JOIN(2, 0) JOIN(2, 1) JOIN(2, 3)
    JOIN(3, 0) JOIN(3, 1) JOIN(3, 2)
#if NODES > 4
    AT(4)
    JOIN(4, 0) JOIN(4, 1) JOIN(4, 2) JOIN(4, 3)
    JOIN(0, 4) JOIN(1, 4) JOIN(2, 4) JOIN(3, 4)
#endif
#if NODES > 5
    AT(5)
    JOIN(5, 0) JOIN(5, 1) JOIN(5, 2) JOIN(5, 3) JOIN(5, 4)
    JOIN(0, 5) JOIN(1, 5) JOIN(2, 5) JOIN(3, 5) JOIN(4, 5)
#endif
  od
}
