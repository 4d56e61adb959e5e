/*
 * The rules of the data, for spin: quorum writes and reads, newcomers that are named, taking over. `make model` says what to look for, and
 * docs/reference/model.md ("The data") what was found.
 *
 * This file says who may do what and when; what a step does is C: servers.c has what servers do, clients.c writers and readers, model.c the
 * judgement after every step.
 *
 * One key. All of the code's rules are per key, but for these: whom a server counts, whether it is settled, and which pages it was handed are
 * the same for all keys. Every key sees all of that as its own, so a breach for any key is one in a world in which the others hold nothing.
 * Node 0 is the closest to the key, and so on; who is responsible is closest(), of all that one counts.
 *
 * As in the code:
 * - A pull has a first page, at which the source counts who asks, a page on which the key stands, and an end, when all pages are believed.
 *   PULLS are under way at once; a pull beside them is one step. Pages and requests get lost; a source may restart between two pages.
 * - Who takes over counts whom its sources name, and speaks once a majority of the set it enters has handed over with authority; it settles
 *   once everybody it counts has handed over. Who has restarted, or is told that it was counted before, stands in that set without a vote.
 * - A server commits, and says in the same step whom it counts and whether it speaks. A writer counts in the union of what it was told. The
 *   acknowledgement is heard at once or never, since a writer that hears it later acknowledges later, of which nothing gets worse. The
 *   look-up before a put is a read like any other; here a version is greater than all that were given before.
 * - A reader asks anybody, in any order, at one instant; with SLOW_READER at as many as it likes. Then writers do nothing more: what they could
 *   still do makes no answer older.
 * - FORGETTING: who is down may be silent for too long, to one server after the other; each hears from the others first.
 * - DROPPING: a displaced copy is dropped once all who are responsible confirmed it, with authority, one after the other.
 *
 * Left out:
 * - Page digests: a page is believed and whole, or lost. Servers that lie. Expiry; a delete is a version like others.
 * - Who joins finds a server that has settled; whom a look-up finds, or is met, is asked at once. Routing: anybody can be asked.
 * - How long things take, but for this: nobody is forgotten while a put or a pull is under way, or while one that takes over has yet to ask
 *   somebody who lives. Nobody loses authority because it was cut off; and nobody leaves in order.
 * - Whom a restarted server remembers and others have forgotten since, or do not count yet (Neighbourhood.compare): it waits for them.
 * - Whom a server counts is saved at once. SAVING: who asks it for a first page at once, before that leaves, all else some time; with UNSAVED
 *   these as well. A disk is not lost within a put, or within the take-over of somebody who had asked that server already: LOSS_IN_PUT,
 *   LOSS_IN_TAKEOVER.
 * - Repair, and pushes by readers: copies of what is held anyway make no answer older. It comes in where the world is left alone.
 * - The order of the REPLICAS closest of all, who are never displaced: of all their orders one is kept.
 *
 * SIDE_BY_SIDE is not in the code: newcomers that join side by side leave each other out of the sets they take over from. A server tells
 * those newcomers that it counts from others, and by their stores (LIVES_ALIKE: not by these) two lives of one from each other.
 */

c_decl { \#include "takeover.h" };
c_state "World w" "Global"
c_code { \#include "model.c" };

bool broken = false;

/* spin takes a name followed at once by a parenthesis for a side effect in c_expr: hence the spaces. */
#define STEP(can, act, text) \
  :: d_step { c_expr { can } -> c_code { act; tell(&now.w, text); after(&now.w); now.broken = now.w.broken != 0; }; assert(!broken) }

#define AT(i) \
  STEP(can_join (&now.w, i), do_join(&now.w, i), #i " joins") \
  STEP(can_restart (&now.w, i), do_restart(&now.w, i), #i " restarts") \
  STEP(can_settle (&now.w, i), do_settle(&now.w, i), #i " has heard from all") \
  STEP(can_crash (&now.w, i), do_crash(&now.w, i), #i " CRASHES") \
  STEP(can_lose_disk (&now.w, i), do_lose_disk(&now.w, i), #i " CRASHES, its disk is lost") \
  READ(i) SAVE(i) FORGET(i) DROP(i) WRITE(0, i) SECOND(i)

#define WRITE(k, i) \
  STEP(can_store (&now.w, k, i), do_store(&now.w, k, i, 1), #i " stores for writer " #k) \
  STEP(can_lose_ack (&now.w, k, i), do_store(&now.w, k, i, 0), #i " stores for writer " #k ", who does not hear of it")

#define CLIENT(k) \
  STEP(can_give_up (&now.w, k), do_give_up(&now.w, k), #k " gives up writing")

#if WRITERS > 1
#define SECOND(i) WRITE(1, i)
#else
#define SECOND(i)
#endif

#ifdef SLOW_READER
#define READ(i) STEP(can_get (&now.w, i), do_get(&now.w, i), #i " answers the reader")
#else
#define READ(i)
#endif

#ifdef SAVING
#define SAVE(i) STEP(can_save (&now.w, i), do_save(&now.w, i), #i " saves whom it counts")
#else
#define SAVE(i)
#endif

#ifdef FORGETTING
#define FORGET(i) STEP(can_exchange (&now.w, i), do_exchange(&now.w, i), #i " hears from the others before it forgets")
#define SILENCE(i, j) STEP(can_forget (&now.w, i, j), do_forget(&now.w, i, j), #i " has not heard of " #j " for too long")
#else
#define FORGET(i)
#define SILENCE(i, j)
#endif

#ifdef DROPPING
#define DROP(i) STEP(can_drop (&now.w, i), do_drop(&now.w, i), #i " lets go of its copy")
#define CONFIRM(i, j) STEP(can_confirm (&now.w, i, j), do_confirm(&now.w, i, j), #j " confirms to " #i " what lies there")
#else
#define DROP(i)
#define CONFIRM(i, j)
#endif

#define BETWEEN(i, j) \
  STEP(can_ask (&now.w, i, j), do_ask(&now.w, i, j), #j " makes its first page for " #i) \
  STEP(can_make (&now.w, i, j), do_make(&now.w, i, j), #j " makes the key's page for " #i) \
  STEP(can_hear (&now.w, i, j), do_hear(&now.w, i, j), #i " believes what " #j " handed over") \
  STEP(can_pull (&now.w, i, j), do_pull(&now.w, i, j), #i " pulls from " #j) \
  STEP(can_lose_page (&now.w, i, j), do_lose_page(&now.w, i, j), #j " hands a page to " #i " that is lost") \
  SILENCE(i, j) CONFIRM(i, j)

active proctype servers() {
  c_code { begin(&now.w); };
end:
  do
    CLIENT(0)
#if WRITERS > 1
    CLIENT(1)
#endif
    AT(0) AT(1) AT(2)
    BETWEEN(0, 1) BETWEEN(0, 2) BETWEEN(1, 0) BETWEEN(1, 2) BETWEEN(2, 0) BETWEEN(2, 1)
#if NODES > 3
    AT(3)
    BETWEEN(0, 3) BETWEEN(1, 3) BETWEEN(2, 3) BETWEEN(3, 0) BETWEEN(3, 1) BETWEEN(3, 2)
#endif
#if NODES > 4
    AT(4)
    BETWEEN(0, 4) BETWEEN(1, 4) BETWEEN(2, 4) BETWEEN(3, 4) BETWEEN(4, 0) BETWEEN(4, 1) BETWEEN(4, 2) BETWEEN(4, 3)
#endif
  od
}
