/* The state that spin hashes: plain bytes, no padding, so that equal worlds are equal memory. */
#ifndef TAKEOVER_H
#define TAKEOVER_H

typedef unsigned char u8;
typedef u8 Set; /* of nodes; node 0 is the closest to the key, node NODES - 1 the farthest */

#define ALL ((Set)((1u << NODES) - 1))
#define ONE(i) ((Set)(1u << (i)))
#define HAS(set, i) ((set) >> (i) & 1)
#ifdef SIDE_BY_SIDE
#define FEW unsigned
#else
#define FEW unsigned short
#endif
#define SIZE(set) __builtin_popcount(set)
#define OLD ((Set)(ALL & ~((1u << NEWCOMERS) - 1))) /* who is there from the start */

#ifndef MORTALS
#define MORTALS ALL /* who may crash */
#endif

/* EXCHANGING: settled, and hearing from the others before it counts no more who was silent for too long. */
enum phase { OUT, TAKING, SETTLED, EXCHANGING };

typedef struct {
    unsigned phase : 2;
    unsigned value : 2;       /* the version on its disk; 0: nothing */
    unsigned counted : 1;     /* others may count it already */
    unsigned members : NODES; /* whom it counts, itself left out */
    unsigned answered : NODES; /* who handed over, in the take-over or exchange under way */
    unsigned handed : NODES;   /* ... with authority */
    unsigned confirmed : NODES; /* who confirmed to hold the copy that lies here and belongs there */
#ifdef SAVING
    unsigned saved : NODES;   /* whom it counts once it has restarted */
#endif
#ifdef FORGETTING
    unsigned gone : NODES;    /* counted, but silent for too long */
    unsigned going : NODES;   /* of these, who is counted no more after the exchange under way */
    unsigned asked : NODES;   /* who is asked in it */
#endif
#ifdef SIDE_BY_SIDE
    unsigned newcomers : NODES;   /* of its members, who has never settled, and lives for the first time, for all that is known */
    unsigned began : NODES;       /* who asked it for a first page before */
    unsigned established : NODES; /* whom a source in authority counts as more than a newcomer */
#endif
} Node;

enum stage { IDLE, BEGUN, MADE };

/* i pulls from j: BEGUN, the first page is answered; MADE, so is the page on which the key stands. */
typedef struct {
    FEW stage : 2;
    FEW known : 1;     /* whether j counted i before */
    FEW authority : 1; /* whether j was settled for all of it */
#ifdef SIDE_BY_SIDE
    FEW newcomers : NODES; /* of those named */
#endif
    FEW value : 2;
    FEW named : NODES;
} Pull;

typedef struct {
    unsigned busy : 2;
    unsigned version : 2; /* a writer's: what it stores. A reader's: the greatest it was told of */
    unsigned named : NODES;
    unsigned authorities : NODES;
    unsigned stored : NODES;
} Client;

typedef struct {
    Node node[NODES];
    Pull pull[NODES][NODES];
    Client writer[WRITERS];
    Client reader;
    u8 versions;     /* how many are given */
    u8 acknowledged; /* the greatest */
    u8 crashes;      /* left */
    u8 losses;       /* ... of disks */
    u8 broken;
    u8 padding[3];
} World;

#endif
