/* The state that spin hashes: plain bytes, no padding, so that equal worlds are equal memory. */
#ifndef CHORD_H
#define CHORD_H

#define LIST 2             /* r: the length of a successor list; ring mode begins with r + 2 members */
#define POSITIONS (2 * NODES)
#define NOWHERE 255
#define UNBOUNDED 255

/* Position 2i is node i; position 2i + 1 is the placeholder "just past node i", where no node ever is. */
typedef unsigned char u8;

/* A joiner takes part in the exchange of maps, and is no member to anybody else, until all have confirmed it. Who leaves is a member until
   it is gone. */
enum phase { OUT, JOINER, FORMED, RING };

/* What a forming member knows of another. The incarnation is told apart only as far as it matters: the present one, or one that is dead. */
enum known { UNKNOWN, OLD_JOINING, OLD_UP, OLD_LEAVING, OLD_GONE, JOINING, UP, LEAVING, GONE };

/* The one call that a node has under way, and what has become of it. Its answer is what the other had when it answered. */
enum call {
    IDLE,
    SUCCESSOR_ANSWERED, /* stabilise, step 1: the answer is on its way back */
    SUCCESSOR_DEAD,     /* ... or the proof that nobody, or no member, is there */
    BETWEEN_DUE,        /* step 2 is to be asked */
    BETWEEN_ANSWERED,
    BETWEEN_DEAD,
    NOTIFYING,          /* the notification is on its way */
    JOIN_ANSWERED,      /* the member's list is on its way to the joiner */
    LEAVE_DUE,          /* enough others stay: it leaves the ring when the last answer arrives */
    DEPARTING,          /* it has left; the mask in answer[0] are those who have yet to hear of it */
    REGROUPED,          /* the ring is small: the answers of all of its members are on their way */
    EXCHANGED,          /* SLOW_MAPS: what another forming member knows and we do not is on its way */
    EXCHANGE_DEAD       /* ... or the proof that it is dead */
};

typedef struct {
    u8 phase;
    u8 list[LIST];        /* in ring mode; a forming member's follows from its map */
    u8 predecessor;
    u8 call;
    u8 peer;              /* whom the call asked */
    u8 answer[LIST];      /* its list when it answered */
    u8 answer_predecessor;
    u8 candidate;         /* rectify: who takes the place of `asked`, found dead, when that news arrives */
    u8 asked;
#ifdef FORMING
    u8 map[NODES];        /* while the ring forms */
    u8 holds;             /* mask: who may have confirmed what we say of ourselves; kept while we join or leave */
    u8 same;              /* mask: who may have confirmed this very map; kept while it has r + 2 members */
    u8 era;               /* how often the ring was small and grew; only the order matters */
    u8 regroup;           /* the era in which somebody else forms while we stand on a ring, or 0 */
    u8 leavers;           /* mask: whom that one named as leaving */
    u8 came;              /* that it came over from a ring, and not all on its map have that map yet */
    u8 insists;           /* that the ring be formed anew, without who leaves */
    u8 answer_map[NODES];
    u8 answer_phase;      /* of who answered; where none did, what was known of the life asked */
    u8 answer_era;
#endif
} Node;

typedef struct {
    Node node[NODES];
    u8 former;            /* bit i: node i has been a member, so that its next join is a rejoin */
    u8 budget;            /* fail and rejoin events left, or UNBOUNDED */
    u8 broken;            /* 0, or the first property that does not hold */
} World;

#endif
