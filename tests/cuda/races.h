/* Watches what the threads of one launch do to memory: a number that one writes and another reads or writes differently,
   unless both do so atomically, depends on their order, and stops the program. Storing what is there already does not. */
enum { READ, WRITE, SAME, ATOMIC };
enum { NOBODY = 0, SEVERAL = 0xffffffff, SLOTS = 1 << 20 };
typedef struct { uint64_t place; uint32_t launch, writer, reader, adder; } Seen;
static Seen *seen;
static uint32_t launch;
static const char *kernel;

static void saw(const void *at, Thread *thread, int what) {
    uint64_t place = (uint64_t)at, away = place - (uint64_t)thread;
    /* A thread's own memory is on the stack, near its description. */
    if (away + (1 << 20) < (2 << 20)) return;
    if (!seen) seen = calloc(SLOTS, sizeof *seen);
    uint32_t me = thread->ctaid * thread->ntid + thread->tid + 1, slot = (place >> 2) * 2654435761u % SLOTS, tries = 0;
    while (seen[slot].launch == launch && seen[slot].place != place) {
        if (++tries == SLOTS / 2) { fprintf(stderr, "%s touches too much memory to be watched\n", kernel); abort(); }
        slot = (slot + 1) % SLOTS;
    }
    Seen *s = seen + slot;
    if (s->launch != launch) *s = (Seen){place, launch, NOBODY, NOBODY, NOBODY};
    int written = s->writer && s->writer != me, read = s->reader && s->reader != me, added = s->adder && s->adder != me;
    if ((what == READ && (written || added)) || (what == WRITE && (written || read || added)) ||
        (what == ATOMIC && (written || read))) {
        fprintf(stderr, "%s: thread %u depends on the order of threads (%d, %d, %d)\n", kernel, me - 1, written, read, added);
        abort();
    }
    uint32_t *who = what == READ ? &s->reader : what == WRITE ? &s->writer : what == ATOMIC ? &s->adder : NULL;
    if (who) *who = *who && *who != me ? SEVERAL : me;
}
