/* A graceful leave. LEAVES gives the steps; from a ring of r + 2 or fewer it goes through the map of the ring that then forms. */

static void clear(World *w, int i);

/* Ask all around: whoever is named by one who answers. Who answers, and all who are named. */
static unsigned ask_around(const World *w, int i, unsigned *named) {
    unsigned found = 0;
    u8 entries[LIST + 1];
    *named |= 1u << i;
    for (int go = 1; go;) {
        go = 0;
        for (int x = 0; x < NODES; x++) {
            if (!(*named >> x & 1) || found >> x & 1 || !member(w, ID(x))) continue;
            found |= 1u << x;
            go = 1;
            list_of(&w->node[x], x, entries);
            entries[LIST] = predecessor_of(&w->node[x], x);
            for (int k = 0; k <= LIST; k++)
                if (IS_NODE(entries[k])) *named |= 1u << NODE(entries[k]);
        }
    }
    return found;
}

/* What it says of itself, to whoever asks for its state. */
static int is_leaving(const Node *n, int i) {
    (void)i;
#ifdef FORMING
    if (n->phase == FORMED && n->map[i] == LEAVING) return 1;
    if (n->call == REGROUPED && n->answer_map[i] == LEAVING) return 1;
#endif
    return n->call == LEAVE_DUE;
}

#ifdef LEAVES

/* Somebody stays: the last ones are not asked to leave. */
static int somebody_stays(const World *w, int i) {
    for (int x = 0; x < NODES; x++)
        if (x != i && w->node[x].phase >= FORMED && !is_leaving(&w->node[x], x)) return 1;
    return 0;
}

static int can_leave(const World *w, int i) {
    const Node *n = &w->node[i];
    if (!w->budget || n->call != IDLE || is_leaving(n, i) || !somebody_stays(w, i)) return 0;
#ifdef FORMING
    return n->phase >= FORMED;
#else
    unsigned named = 0, stay = ask_around(w, i, &named); /* where the ring would form, that is another run's */
    for (int x = 0; x < NODES; x++)
        if (x == i || is_leaving(&w->node[x], x)) stay &= ~(1u << x);
    return n->phase == RING && __builtin_popcount(stay) > LIST + 1;
#endif
}

static void do_leave(World *w, int i) {
    Node *n = &w->node[i];
    if (w->budget != UNBOUNDED) w->budget--;
#ifdef FORMING
    if (n->phase == FORMED) declare(n, i, LEAVING);
    else do_regroup(w, i, LEAVING);
#else
    call(n, LEAVE_DUE, ID(i));
#endif
}

/* It goes; its neighbours are told. */
static void depart(World *w, int i) {
    Node *n = &w->node[i];
    u8 told = 0, before = n->predecessor;
    for (int k = 0; k < LIST; k++)
        if (IS_NODE(n->list[k])) told |= 1u << NODE(n->list[k]);
    if (IS_NODE(before)) told |= 1u << NODE(before);
    clear(w, i);
    call(n, DEPARTING, ID(i));
    n->answer[0] = told;
    n->answer_predecessor = before;
}

static int can_tell(const World *w, int i, int x) { return w->node[i].call == DEPARTING && w->node[i].answer[0] >> x & 1; }

static void drop_from_list(Node *n, u8 dead);

/* x hears that i has left: who stood before it takes its place, if that one is alive when asked. */
static void do_tell(World *w, int i, int x) {
    Node *leaver = &w->node[i], *n = &w->node[x];
    u8 before = leaver->answer_predecessor;
    leaver->answer[0] &= ~(1u << x);
    if (!leaver->answer[0]) forget_call(leaver);
#ifdef FORMING
    if (n->phase == FORMED) {
        u8 map[NODES] = {0};
        map[i] = OLD_GONE;
        merge_into(w, x, map);
    }
#endif
    if (n->phase != RING) return;
    if (n->predecessor == ID(i) && before != ID(x) && member(w, before) && n->asked == NOWHERE) {
        n->asked = ID(i);
        n->candidate = before;
    }
    drop_from_list(n, ID(i));
}
#endif
