/*
 * loadgen: one-file, single-threaded epoll load generator.
 *
 * It speaks the Convex sync protocol (WebSocket, /api/1.48.0/sync) and its HTTP query endpoint to benchmark Camber, and
 * PocketBase's REST and server-sent-events API for the same workloads. Build: cc -O2 -o loadgen loadgen.c
 *
 * Every run prints exactly one JSON object on stdout. Times are CLOCK_MONOTONIC. Only 127.0.0.1 can be a target.
 * Exit status: 0 fine, 1 usage, 2 protocol error, 3 set-up or run took too long, 4 the run is incomplete (deliveries
 * missing, or nothing succeeded); with 4 the result is printed all the same.
 *
 * Layout: errors and small tools / options / argument templates / process accounting / JSON scanning / connections and
 * event loop / WebSocket / HTTP and SSE / sync protocol / subcommands / main.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_USAGE = 1, EXIT_PROTOCOL = 2, EXIT_SLOW = 3, EXIT_INCOMPLETE = 4 };
#define MAX_MESSAGE ((size_t)64 << 20) /* largest WebSocket message or HTTP body accepted */
#define MAX_OPENING 128                /* connections being set up at any time: keeps the listen backlog from overflowing */
#define MAX_UNSETTLED 1024             /* answered mutations per connection waiting for the Transition that covers them */

/* ------------------------------------------------------------------------------------- errors and small tools ---- */

static const char *bench = "loadgen"; /* subcommand, for messages */

static void print_json_string(const char *s, size_t n) {
    putchar('"');
    for (size_t i = 0; i < n; i++) {
        unsigned char ch = (unsigned char)s[i];
        if (ch == '"' || ch == '\\') printf("\\%c", ch);
        else if (ch < 0x20 || ch == 0x7f) printf("\\u%04x", ch);
        else putchar(ch < 0x80 ? ch : '?'); /* a cut or binary text must not make the output invalid UTF-8 */
    }
    putchar('"');
}

/* Ends the program with a message on stderr and as {"error": ...} on stdout. */
static _Noreturn void __attribute__((format(printf, 2, 3))) fail(int status, const char *format, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fprintf(stderr, "loadgen %s: %s\n", bench, text);
    printf("{\"bench\":\"%s\",\"error\":", bench);
    print_json_string(text, strlen(text));
    printf("}\n");
    fflush(stdout);
    _exit(status);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *must(void *p) {
    if (!p) fail(EXIT_SLOW, "out of memory");
    return p;
}

typedef struct { char *p; size_t len, cap; } buf;

static void buf_reserve(buf *b, size_t extra) {
    if (b->cap - b->len >= extra) return;
    size_t cap = b->cap ? b->cap : 256;
    while (cap - b->len < extra) cap *= 2;
    b->p = must(realloc(b->p, cap));
    b->cap = cap;
}

static void buf_add(buf *b, const void *p, size_t n) {
    if (!n) return;
    buf_reserve(b, n);
    memcpy(b->p + b->len, p, n);
    b->len += n;
}

static void buf_str(buf *b, const char *s) { buf_add(b, s, strlen(s)); }

static void __attribute__((format(printf, 2, 3))) buf_printf(buf *b, const char *format, ...) {
    char text[2048];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof text) fail(EXIT_USAGE, "text too long: %.60s...", text);
    buf_add(b, text, (size_t)n);
}

static void buf_free(buf *b) { free(b->p); *b = (buf){0}; }

/* Pseudo-random numbers for arguments: xorshift64*, reproducible through --seed. */
static uint64_t rng_state;
static uint64_t rng(void) {
    rng_state ^= rng_state >> 12;
    rng_state ^= rng_state << 25;
    rng_state ^= rng_state >> 27;
    return rng_state * 2685821657736338717ull;
}
static double rng_unit(void) { return (double)(rng() >> 11) * 0x1p-53; }

/* Latency histogram in nanoseconds: 128 linear steps per power of two (error below 0.4 %), constant memory. */
typedef struct { uint64_t n, max, count[64 * 128]; double sum; } hist;

static void hist_add(hist *h, double seconds) {
    uint64_t v = seconds > 0 ? (uint64_t)(seconds * 1e9) : 0;
    int e = v < 128 ? 0 : 63 - __builtin_clzll(v);
    size_t i = v < 128 ? v : (size_t)(e - 6) * 128 + ((v >> (e - 7)) & 127);
    h->count[i]++;
    h->n++;
    h->sum += (double)v;
    if (v > h->max) h->max = v;
}

static double hist_ms(const hist *h, double q) {
    uint64_t rank = (uint64_t)(q * (double)(h->n - 1)), seen = 0;
    for (size_t i = 0; i < 64 * 128; i++) {
        seen += h->count[i];
        if (seen > rank) {
            uint64_t width = i < 128 ? 1 : 1ull << (i / 128 - 1);
            double v = i < 128 ? (double)i : ((double)(128 + i % 128) + 0.5) * (double)width;
            return (v < (double)h->max ? v : (double)h->max) / 1e6;
        }
    }
    return (double)h->max / 1e6;
}

static void print_hist(const char *name, const hist *h) {
    if (!h->n) { printf(",\"%s\":null", name); return; }
    printf(",\"%s\":{\"n\":%llu,\"mean\":%.3f,\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f}", name,
           (unsigned long long)h->n, h->sum / (double)h->n / 1e6, hist_ms(h, .5), hist_ms(h, .9), hist_ms(h, .99),
           (double)h->max / 1e6);
}

/* ------------------------------------------------------------------------------------------------- options ---- */

static struct {
    char *url, *path, *args, *query, *query_args, *endpoint, *topic, *method;
    double seconds, rate, warmup, drain, setup_timeout;
    long clients, inflight, subs, only_client, groups, writers, pid, seed;
} opt = {.seconds = 5, .warmup = 0.5, .drain = 5, .setup_timeout = 30, .clients = 1, .inflight = 1, .subs = 3,
         .only_client = -1, .groups = 0, .writers = 0, .seed = 1};

static const struct { const char *name; char type; void *to; } options[] = {
    {"url", 's', &opt.url}, {"path", 's', &opt.path}, {"args", 's', &opt.args}, {"query", 's', &opt.query},
    {"query-args", 's', &opt.query_args}, {"endpoint", 's', &opt.endpoint}, {"topic", 's', &opt.topic},
    {"method", 's', &opt.method}, {"seconds", 'd', &opt.seconds}, {"rate", 'd', &opt.rate},
    {"warmup", 'd', &opt.warmup}, {"drain", 'd', &opt.drain}, {"setup-timeout", 'd', &opt.setup_timeout},
    {"clients", 'l', &opt.clients}, {"inflight", 'l', &opt.inflight}, {"subs", 'l', &opt.subs},
    {"only-client", 'l', &opt.only_client}, {"groups", 'l', &opt.groups}, {"writers", 'l', &opt.writers},
    {"pid", 'l', &opt.pid}, {"seed", 'l', &opt.seed}};

static int target_port;

static void parse_options(int argc, char **argv, const char *scheme) {
    for (int i = 0; i < argc; i += 2) {
        size_t k = 0, count = sizeof options / sizeof *options;
        if (strncmp(argv[i], "--", 2)) fail(EXIT_USAGE, "expected an option, got '%s'", argv[i]);
        while (k < count && strcmp(argv[i] + 2, options[k].name)) k++;
        if (k == count) fail(EXIT_USAGE, "unknown option %s", argv[i]);
        if (i + 1 == argc) fail(EXIT_USAGE, "option %s needs a value", argv[i]);
        char *end = "";
        if (options[k].type == 's') *(char **)options[k].to = argv[i + 1];
        else if (options[k].type == 'd') *(double *)options[k].to = strtod(argv[i + 1], &end);
        else *(long *)options[k].to = strtol(argv[i + 1], &end, 10);
        if (*end || !*argv[i + 1]) fail(EXIT_USAGE, "option %s: '%s' is not a number", argv[i], argv[i + 1]);
    }
    if (!opt.url) fail(EXIT_USAGE, "--url %s127.0.0.1:PORT is needed", scheme);
    char tail = 0;
    size_t n = strlen(scheme);
    if (strncmp(opt.url, scheme, n) || strncmp(opt.url + n, "127.0.0.1:", 10) ||
        sscanf(opt.url + n + 10, "%d%c", &target_port, &tail) < 1 || (tail && tail != '/') || target_port < 1 ||
        target_port > 65535)
        fail(EXIT_USAGE, "--url must be %s127.0.0.1:PORT (no other host is allowed), not '%s'", scheme, opt.url);
    if (!(opt.seconds > 0 && opt.seconds <= 600) || !(opt.warmup >= 0 && opt.warmup <= 60) ||
        !(opt.drain >= 0 && opt.drain <= 120) || !(opt.setup_timeout > 0 && opt.setup_timeout <= 300))
        fail(EXIT_USAGE, "--seconds is 0..600, --warmup 0..60, --drain 0..120, --setup-timeout 0..300");
    if (opt.clients < 1 || opt.clients > 60000) fail(EXIT_USAGE, "--clients is 1..60000");
    if (opt.inflight < 1 || opt.inflight > 512) fail(EXIT_USAGE, "--inflight is 1..512");
    if (opt.rate < 0 || opt.rate > 1e6 || opt.subs < 0 || opt.subs > 1000 || opt.writers < 0 || opt.writers > 512)
        fail(EXIT_USAGE, "--rate is 0..1e6, --subs 0..1000, --writers 0..512");
    rng_state = (uint64_t)opt.seed * 0x9E3779B97F4A7C15ull | 1;
}

static char *need(char *value, const char *name) {
    if (!value) fail(EXIT_USAGE, "--%s is needed", name);
    return value;
}

/* --------------------------------------------------------------------------------------- argument templates ---- */

/*
 * {i} running number, {c} client (fan-out: group) number, {s} subscription number, {token} sequence token of a fan-out
 * write, {pad:N} N letters, {rand:A-B} uniform integer, {zipf:N:ALPHA} integer in 0..N-1 where 0 is the most frequent.
 * {rand!:A-B} and {zipf!:N:ALPHA} differ from the number drawn just before in the same text (transfer: from is not to).
 * {i:W} and {c:W} are zero-padded to W digits. Anything else in braces is left alone, so JSON needs no escaping.
 */
typedef struct { enum { LITERAL, COUNTER, CLIENT, SUB, TOKEN, RAND, ZIPF, PAD } kind; const char *s; size_t n;
                 long a, b; bool distinct; double *cdf; } piece;
typedef struct { piece p[32]; int n; } template;
typedef struct { long i, c, s; } values;

/* k to the power -alpha without libm: ln by its atanh series on [0.7, 1.4], exp by Taylor series on half a binade. */
static double inverse_power(long k, double alpha) {
    const double ln2 = 0.693147180559945309;
    double m = (double)k, ln = 0, sum = 1, term = 1;
    while (m > 1.4) m /= 2, ln += ln2;
    double z = (m - 1) / (m + 1), power = z;
    for (int j = 1; j < 24; j += 2, power *= z * z) ln += 2 * power / j;
    double x = -alpha * ln, scale = 1;
    while (x < -ln2 / 2) x += ln2, scale /= 2;
    while (x > ln2 / 2) x -= ln2, scale *= 2;
    for (int j = 1; j < 18; j++) sum += term *= x / j;
    return sum * scale;
}

static char token_prefix[16]; /* "~" + 6 random hex digits + ":", so that tokens of earlier runs are never matched */

static piece *template_add(template *t, int kind, const char *s, size_t n) {
    if (t->n == 32) fail(EXIT_USAGE, "too many placeholders");
    t->p[t->n] = (piece){.kind = kind, .s = s, .n = n};
    return &t->p[t->n++];
}

static void template_parse(template *t, const char *text) {
    const char *literal = text;
    t->n = 0;
    for (const char *p = text; *p;) {
        long a = 0, b = 0;
        double alpha = 0;
        int used = 0, kind = -1;
        bool distinct = false;
        if (*p != '{') { p++; continue; }
        if (sscanf(p, "{i}%n", &used), used) kind = COUNTER;
        else if (sscanf(p, "{c}%n", &used), used) kind = CLIENT;
        else if (sscanf(p, "{s}%n", &used), used) kind = SUB;
        else if (sscanf(p, "{i:%2ld}%n", &a, &used), used) kind = COUNTER;
        else if (sscanf(p, "{c:%2ld}%n", &a, &used), used) kind = CLIENT;
        else if (sscanf(p, "{token}%n", &used), used) kind = TOKEN;
        else if (sscanf(p, "{pad:%7ld}%n", &a, &used), used) kind = PAD;
        else if (sscanf(p, "{rand:%ld-%ld}%n", &a, &b, &used), used) kind = RAND;
        else if (sscanf(p, "{rand!:%ld-%ld}%n", &a, &b, &used), used) kind = RAND, distinct = true;
        else if (sscanf(p, "{zipf:%ld:%lf}%n", &a, &alpha, &used), used) kind = ZIPF;
        else if (sscanf(p, "{zipf!:%ld:%lf}%n", &a, &alpha, &used), used) kind = ZIPF, distinct = true;
        if (kind < 0) { p++; continue; }
        if (p > literal) template_add(t, LITERAL, literal, (size_t)(p - literal));
        piece *e = template_add(t, kind, NULL, 0);
        e->a = a, e->b = b, e->distinct = distinct;
        if (a < 0 || (kind == RAND && b < a + distinct)) fail(EXIT_USAGE, "bad placeholder %.*s", used, p);
        if (kind == ZIPF) { /* cumulative distribution, searched per draw: exact for every alpha, below and above 1 */
            if (a < 1 + distinct || a > 10000000 || !(alpha >= 0 && alpha <= 20)) fail(EXIT_USAGE, "bad placeholder %.*s", used, p);
            e->cdf = must(malloc((size_t)a * sizeof(double)));
            double sum = 0;
            for (long k = 0; k < a; k++) e->cdf[k] = sum += inverse_power(k + 1, alpha);
            for (long k = 0; k < a; k++) e->cdf[k] /= sum;
        }
        p += used;
        literal = p;
    }
    if (*literal) template_add(t, LITERAL, literal, strlen(literal));
}

static bool template_has(const template *t, int kind) {
    for (int k = 0; k < t->n; k++)
        if ((int)t->p[k].kind == kind) return true;
    return false;
}

static long draw(const piece *e) {
    if (e->kind == RAND) return e->a + (long)(rng_unit() * (double)(e->b - e->a + 1));
    double u = rng_unit();
    long low = 0, high = e->a - 1;
    while (low < high) {
        long mid = (low + high) / 2;
        if (e->cdf[mid] > u) high = mid; else low = mid + 1;
    }
    return low;
}

static void template_expand(buf *out, const template *t, values v) {
    long last = -1;
    for (int k = 0; k < t->n; k++) {
        const piece *e = &t->p[k];
        switch (e->kind) {
        case LITERAL: buf_add(out, e->s, e->n); break;
        case COUNTER: buf_printf(out, "%0*ld", (int)e->a, v.i); break;
        case CLIENT: buf_printf(out, "%0*ld", (int)e->a, v.c); break;
        case SUB: buf_printf(out, "%ld", v.s); break;
        case TOKEN: buf_printf(out, "%s%010ld~", token_prefix, v.i); break;
        case PAD: buf_reserve(out, (size_t)e->a); memset(out->p + out->len, 'x', (size_t)e->a); out->len += (size_t)e->a; break;
        default: {
            long x = draw(e);
            while (e->distinct && x == last) x = draw(e);
            buf_printf(out, "%ld", last = x);
        }
        }
    }
}

/* The largest token of this run inside p[0..n), or -1. */
static long find_token(const char *p, size_t n) {
    const char *end = p + n;
    size_t prefix = strlen(token_prefix);
    long best = -1;
    while ((size_t)(end - p) >= prefix + 11 && (p = memchr(p, '~', (size_t)(end - p)))) {
        if ((size_t)(end - p) < prefix + 11) break;
        if (memcmp(p, token_prefix, prefix) || p[prefix + 10] != '~') { p++; continue; }
        long v = 0;
        for (size_t k = prefix; k < prefix + 10; k++) v = v * 10 + (p[k] - '0');
        if (v > best) best = v;
        p += prefix + 11;
    }
    return best;
}

/* ---------------------------------------------------------------------------------------- process accounting ---- */

static long pids[256];
static int pid_count;

static bool read_stat(long pid, char *state, long fields[13]) { /* fields[0] is ppid, [10] utime, [11] stime */
    char name[64], line[1024];
    snprintf(name, sizeof name, "/proc/%ld/stat", pid);
    FILE *f = fopen(name, "r");
    if (!f) return false;
    size_t n = fread(line, 1, sizeof line - 1, f);
    fclose(f);
    line[n] = 0;
    char *p = strrchr(line, ')'); /* the command name may contain anything, even spaces and parentheses */
    if (!p || p[1] != ' ') return false;
    *state = p[2];
    p += 3;
    for (int k = 0; k < 13; k++) fields[k] = strtol(p, &p, 10);
    return true;
}

static void collect_pids(long pid) { /* --pid and all its descendants */
    if (pid_count == 256) return;
    pids[pid_count++] = pid;
    DIR *d = opendir("/proc");
    if (!d) return;
    long kids[256], f[13];
    int n = 0;
    char state;
    for (struct dirent *e; (e = readdir(d));) {
        long q = atol(e->d_name);
        if (q > 0 && n < 256 && read_stat(q, &state, f) && f[0] == pid) kids[n++] = q;
    }
    closedir(d);
    for (int k = 0; k < n; k++) collect_pids(kids[k]);
}

typedef struct { double server_cpu, own_cpu, rss_mb, pss_mb; } usage;

static usage measure(void) {
    usage u = {0};
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    u.own_cpu = (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
    pid_count = 0;
    if (opt.pid > 0) collect_pids(opt.pid);
    for (int k = 0; k < pid_count; k++) {
        long f[13], kb;
        char state, name[64], line[256];
        if (!read_stat(pids[k], &state, f)) continue;
        u.server_cpu += (double)(f[10] + f[11]) / (double)sysconf(_SC_CLK_TCK);
        snprintf(name, sizeof name, "/proc/%ld/smaps_rollup", pids[k]);
        FILE *file = fopen(name, "r");
        while (file && fgets(line, sizeof line, file)) {
            if (sscanf(line, "Rss: %ld", &kb) == 1) u.rss_mb += (double)kb / 1024;
            if (sscanf(line, "Pss: %ld", &kb) == 1) u.pss_mb += (double)kb / 1024;
        }
        if (file) fclose(file);
    }
    return u;
}

/* ----------------------------------------------------------------------------------------------- JSON scanning ---- */

/* Not a full parser: it walks members and skips values correctly (nesting, strings, escapes), which is what we need. */
typedef struct { const char *p; size_t n; } span;

static _Noreturn void bad_json(const char *p, const char *end) {
    fail(EXIT_PROTOCOL, "malformed JSON from the server near: %.*s", end - p > 120 ? 120 : (int)(end - p), p);
}

static const char *js_ws(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

static const char *js_string(const char *p, const char *end) { /* p at the opening quote; returns after the closing one */
    const char *start = ++p, *q;
    for (;; p = q + 1) {
        q = memchr(p, '"', (size_t)(end - p));
        if (!q) bad_json(start, end);
        const char *b = q;
        while (b > start && b[-1] == '\\') b--;
        if ((q - b) % 2 == 0) return q + 1;
    }
}

static const char *js_value(const char *p, const char *end) {
    const char *start = p;
    if (p == end) bad_json(start, end);
    if (*p == '"') return js_string(p, end);
    if (*p != '{' && *p != '[') {
        while (p < end && *p != ',' && *p != '}' && *p != ']' && *p > ' ') p++;
        if (p == start) bad_json(start, end);
        return p;
    }
    for (int depth = 0; p < end;) {
        if (*p == '"') { p = js_string(p, end); continue; }
        if (*p == '{' || *p == '[') depth++;
        else if ((*p == '}' || *p == ']') && --depth == 0) return p + 1;
        p++;
    }
    bad_json(start, end);
}

/* Next element of the object or array whose inside starts at *p; false at its end. key is NULL for arrays. */
static bool js_next(const char **p, const char *end, span *key, span *value) {
    const char *q = js_ws(*p, end);
    if (q < end && *q == ',') q = js_ws(q + 1, end);
    if (q == end) bad_json(*p, end);
    if (*q == '}' || *q == ']') { *p = q + 1; return false; }
    if (key) {
        if (*q != '"') bad_json(q, end);
        const char *after = js_string(q, end);
        *key = (span){q + 1, (size_t)(after - q - 2)};
        q = js_ws(after, end);
        if (q == end || *q != ':') bad_json(q, end);
        q = js_ws(q + 1, end);
    }
    const char *after = js_value(q, end);
    *value = (span){q, (size_t)(after - q)};
    *p = after;
    return true;
}

static bool is(span s, const char *text) { return s.n == strlen(text) && !memcmp(s.p, text, s.n); }

static bool js_enter(span s, const char **p) { /* opens an object or array for js_next */
    if (!s.n || (*s.p != '{' && *s.p != '[')) return false;
    *p = s.p + 1;
    return true;
}

static uint64_t js_uint(span s, const char *what) {
    uint64_t v = 0;
    if (!s.n || s.n > 19) fail(EXIT_PROTOCOL, "%s is not an unsigned integer: %.*s", what, (int)s.n, s.p);
    for (size_t k = 0; k < s.n; k++) {
        if (s.p[k] < '0' || s.p[k] > '9') fail(EXIT_PROTOCOL, "%s is not an unsigned integer: %.*s", what, (int)s.n, s.p);
        v = v * 10 + (uint64_t)(s.p[k] - '0');
    }
    return v;
}

static uint64_t js_timestamp(span s, const char *what) { /* 8 little-endian bytes in standard base64, quoted */
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t out[9] = {0};
    uint32_t acc = 0;
    int bits = 0, n = 0;
    if (s.n != 14 || s.p[0] != '"' || s.p[12] != '=') fail(EXIT_PROTOCOL, "%s is not a base64 timestamp: %.*s", what, (int)(s.n > 40 ? 40 : s.n), s.p);
    for (int k = 1; k < 12; k++) {
        const char *a = strchr(alphabet, s.p[k]);
        if (!a || !s.p[k]) fail(EXIT_PROTOCOL, "%s is not a base64 timestamp: %.*s", what, (int)s.n, s.p);
        acc = acc << 6 | (uint32_t)(a - alphabet);
        if ((bits += 6) >= 8) out[n++] = (uint8_t)(acc >> (bits -= 8));
    }
    uint64_t v = 0;
    for (int k = 7; k >= 0; k--) v = v << 8 | out[k];
    return v;
}

/* -------------------------------------------------------------------------------- connections and event loop ---- */

typedef struct conn conn;
typedef struct message message; /* a decoded sync-protocol message, below */
struct conn {
    int fd, id;
    bool connected, in_handler, watching_out, counted;
    buf in, out, part;                            /* unparsed input, unsent output, message being assembled */
    size_t want;                                  /* bytes `in` must hold before parsing can go on (0: unknown) */
    size_t (*feed)(conn *, char *, size_t);       /* parses input, returns the bytes consumed */
    void (*on_connect)(conn *);                   /* TCP connected */
    void (*on_open)(conn *);                      /* WebSocket open */
    void (*on_transition)(conn *, message *);
    void (*on_response)(conn *, message *);
    void (*on_http)(conn *, int, span);           /* whole HTTP response */
    void (*on_event)(conn *, span);               /* one server-sent event */
    bool part_active, sse_body;
    size_t chunk_left;                            /* SSE: bytes left of the current chunk */
    struct { uint64_t qs, identity, ts; } version; /* end version of the last Transition */
    uint64_t sent_qs, next_query, next_request, answered; /* sync protocol counters */
    double started;                               /* HTTP and wsquery: when the request in flight was sent */
    double *sent_at;                              /* mutate: send times, ring of opt.inflight */
    struct unsettled { double sent; uint64_t ts; bool record; } *settle; /* mutate: ring of MAX_UNSETTLED */
    uint64_t settle_head, settle_tail;
    long next_order;                              /* fan-out: next write of this client's group not yet seen */
    long job;                                     /* HTTP: what the request in flight is about */
    bool busy;
};

static int epoll_fd, timer_fd;
static conn *conns;      /* all connections of the run, clients first */
static long conn_count;
static long opened, ready; /* set-up progress */
static uint64_t bytes_in, pings_in, ws_pings_in;

static void conn_watch(conn *c, bool out) {
    if (out == c->watching_out) return;
    struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &e);
    c->watching_out = out;
}

static void conn_flush(conn *c) {
    size_t off = 0;
    while (c->connected && off < c->out.len) {
        ssize_t r = send(c->fd, c->out.p + off, c->out.len - off, MSG_NOSIGNAL);
        if (r < 0 && errno == EINTR) continue;
        if (r < 0 && errno == EAGAIN) break;
        if (r < 0) fail(EXIT_PROTOCOL, "connection %d: sending failed: %s", c->id, strerror(errno));
        off += (size_t)r;
    }
    if (off) {
        memmove(c->out.p, c->out.p + off, c->out.len - off);
        c->out.len -= off;
    }
    if (!c->out.len && c->out.cap > 65536) buf_free(&c->out);
    conn_watch(c, c->out.len > 0 || !c->connected);
}

static conn *conn_start(int id) {
    conn *c = &conns[id];
    c->id = id;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) fail(EXIT_SLOW, "socket: %s", strerror(errno));
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)target_port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(c->fd, (void *)&a, sizeof a) && errno != EINPROGRESS)
        fail(EXIT_SLOW, "cannot connect to 127.0.0.1:%d: %s", target_port, strerror(errno));
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &e)) fail(EXIT_SLOW, "epoll: %s", strerror(errno));
    c->watching_out = true;
    return c;
}

static void conn_ready(conn *c) { if (!c->counted) c->counted = true, ready++; }

static void conn_read(conn *c) {
    static char scratch[256 << 10]; /* used while nothing is left over, so that quiet connections own no buffer */
    char *base = scratch;
    size_t room = sizeof scratch, have = 0;
    if (c->in.len) {
        size_t extra = c->want > c->in.len ? c->want - c->in.len : 4096;
        buf_reserve(&c->in, extra < 4096 ? 4096 : extra);
        base = c->in.p, have = c->in.len, room = c->in.cap - c->in.len;
    }
    ssize_t r = recv(c->fd, base + have, room, 0);
    if (r < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (r <= 0) fail(EXIT_PROTOCOL, "connection %d: the server %s", c->id, r ? strerror(errno) : "closed the TCP connection");
    bytes_in += (uint64_t)r;
    have += (size_t)r;
    size_t off = 0, used;
    c->want = 0;
    while (off < have && (used = c->feed(c, base + off, have - off))) off += used;
    if (base == scratch) buf_add(&c->in, base + off, have - off);
    else {
        memmove(base, base + off, have - off);
        c->in.len = have - off;
    }
    if (!c->in.len && c->in.cap > 16384) buf_free(&c->in);
}

static void conn_event(conn *c, uint32_t events) {
    c->in_handler = true;
    if (!c->connected && events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) {
        int error = 0;
        socklen_t n = sizeof error;
        getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n);
        if (error) fail(EXIT_SLOW, "cannot connect to 127.0.0.1:%d: %s", target_port, strerror(error));
        c->connected = true;
        c->on_connect(c);
    } else if (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) conn_read(c);
    c->in_handler = false;
    conn_flush(c);
}

/* Runs the loop until done() or the deadline; true when done() was. tick(), called each round, returns when it wants to
 * be called next (0: not). */
static bool run_loop(double deadline, bool (*done)(void), double (*tick)(double)) {
    struct epoll_event events[512];
    for (;;) {
        double t = now(), wake = tick ? tick(t) : 0;
        if (done && done()) return true;
        if ((t = now()) >= deadline) return false;
        if (wake <= 0 || wake > deadline) wake = deadline;
        time_t whole = (time_t)wake;
        struct itimerspec when = {.it_value = {whole, (long)((wake - (double)whole) * 1e9)}};
        timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
        int n = epoll_wait(epoll_fd, events, 512, 1000);
        for (int k = 0; k < n; k++) {
            uint64_t expirations;
            if (events[k].data.ptr) conn_event(events[k].data.ptr, events[k].events);
            else if (read(timer_fd, &expirations, sizeof expirations) < 0) continue;
        }
    }
}

static void conns_init(long count) {
    struct rlimit r;
    getrlimit(RLIMIT_NOFILE, &r);
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
    if (r.rlim_max != RLIM_INFINITY && (rlim_t)count + 32 > r.rlim_max)
        fail(EXIT_USAGE, "%ld connections need more than the %lu open files allowed (ulimit -n)", count, (unsigned long)r.rlim_max);
    conns = must(calloc((size_t)count, sizeof *conns));
    conn_count = count;
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_fd < 0 || timer_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &e)) fail(EXIT_SLOW, "epoll: %s", strerror(errno));
}

static long setup_from, setup_to;
static conn *(*setup_open)(int);
static double setup_tick(double t) {
    (void)t;
    while (opened < setup_to && opened - ready < MAX_OPENING) setup_open((int)opened++);
    return 0;
}
static bool setup_done(void) { return ready == setup_to; }

/* Opens connections [from, to) with open(); each must call conn_ready() once. Returns the seconds it took. */
static double open_all(long from, long to, conn *(*open)(int)) {
    double t = now();
    setup_from = opened = ready = from, setup_to = to, setup_open = open;
    if (!run_loop(t + opt.setup_timeout, setup_done, setup_tick))
        fail(EXIT_SLOW, "set-up: only %ld of %ld connections became ready in %.0f s", ready - from, to - from, opt.setup_timeout);
    return now() - t;
}

/* --------------------------------------------------------------------------------------------------- WebSocket ---- */

static void ws_send_frame(conn *c, int opcode, const char *p, size_t n) {
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t h[14] = {(uint8_t)(0x80 | opcode)};
    size_t k = 2;
    if (n < 126) h[1] = (uint8_t)(0x80 | n);
    else if (n < 65536) h[1] = 0x80 | 126, h[2] = (uint8_t)(n >> 8), h[3] = (uint8_t)n, k = 4;
    else for (h[1] = 0x80 | 127; k < 10; k++) h[k] = (uint8_t)(n >> (8 * (9 - k)));
    memcpy(h + k, key, 4);
    buf_add(&c->out, h, k + 4);
    buf_reserve(&c->out, n + 1);
    char *to = c->out.p + c->out.len;
    for (size_t i = 0; i < n; i++) to[i] = (char)(p[i] ^ key[i & 3]);
    c->out.len += n;
    if (!c->in_handler) conn_flush(c);
}

static void ws_text(conn *c, const buf *b) { ws_send_frame(c, 1, b->p, b->len); }

static void sync_message(conn *c, const char *p, size_t n);

static void ws_frame(conn *c, bool fin, int opcode, char *p, size_t n) {
    if (opcode >= 8 && (!fin || n > 125)) fail(EXIT_PROTOCOL, "connection %d: bad control frame", c->id);
    switch (opcode) {
    case 9: ws_pings_in++; ws_send_frame(c, 10, p, n); return;
    case 10: return;
    case 8: {
        int code = n >= 2 ? (uint8_t)p[0] << 8 | (uint8_t)p[1] : 1005;
        fail(EXIT_PROTOCOL, "connection %d: the server closed the WebSocket: code %d, reason '%.*s'", c->id, code, n > 2 ? (int)n - 2 : 0, n > 2 ? p + 2 : "");
    }
    case 1: if (c->part_active) fail(EXIT_PROTOCOL, "connection %d: new message inside a fragmented one", c->id); break;
    case 0: if (!c->part_active) fail(EXIT_PROTOCOL, "connection %d: continuation without a start", c->id); break;
    default: fail(EXIT_PROTOCOL, "connection %d: unexpected opcode %d (messages must be text frames)", c->id, opcode);
    }
    if (fin && opcode == 1) { sync_message(c, p, n); return; }
    if (c->part.len + n > MAX_MESSAGE) fail(EXIT_PROTOCOL, "connection %d: message larger than %zu bytes", c->id, MAX_MESSAGE);
    c->part_active = true;
    buf_add(&c->part, p, n);
    if (!fin) return;
    c->part_active = false;
    sync_message(c, c->part.p, c->part.len);
    buf_free(&c->part);
}

static size_t ws_feed(conn *c, char *b, size_t n) { /* as many whole frames as there are */
    size_t off = 0;
    while (n - off >= 2) {
        uint8_t *h = (uint8_t *)b + off;
        uint64_t len = h[1] & 127;
        size_t head = len == 126 ? 4 : len == 127 ? 10 : 2;
        if (h[0] & 0x70) fail(EXIT_PROTOCOL, "connection %d: reserved bits set (no extension was negotiated)", c->id);
        if (h[1] & 0x80) fail(EXIT_PROTOCOL, "connection %d: masked frame from the server", c->id);
        if (n - off < head) break;
        if (head > 2) len = 0;
        for (size_t k = 2; k < head; k++) len = len << 8 | h[k];
        if (len > MAX_MESSAGE) fail(EXIT_PROTOCOL, "connection %d: frame of %llu bytes", c->id, (unsigned long long)len);
        if (n - off < head + len) { c->want = head + (size_t)len; break; }
        ws_frame(c, h[0] & 0x80, h[0] & 15, (char *)h + head, (size_t)len);
        off += head + (size_t)len;
    }
    return off;
}

static size_t ws_upgrade_feed(conn *c, char *b, size_t n) {
    char *end = memmem(b, n, "\r\n\r\n", 4);
    if (!end && n > 16384) fail(EXIT_PROTOCOL, "endless answer to the WebSocket upgrade");
    if (!end) return 0;
    if (n < 12 || memcmp(b, "HTTP/1.1 101", 12)) fail(EXIT_PROTOCOL, "WebSocket upgrade refused: %.*s", (int)(n > 200 ? 200 : n), b);
    if (!memmem(b, (size_t)(end - b), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28)) fail(EXIT_PROTOCOL, "wrong Sec-WebSocket-Accept");
    c->feed = ws_feed;
    c->on_open(c);
    return (size_t)(end - b) + 4;
}

static void ws_connected(conn *c) {
    buf_printf(&c->out, "GET /api/1.48.0/sync HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", target_port);
}

/* ----------------------------------------------------------------------------------------------- HTTP and SSE ---- */

static span http_header(span head, const char *name) { /* value of a header, empty when absent */
    const char *p = head.p, *end = head.p + head.n;
    size_t n = strlen(name);
    for (const char *line; p < end; p = line + 2) {
        line = memmem(p, (size_t)(end - p), "\r\n", 2);
        if (!line) line = end;
        if ((size_t)(line - p) > n && !strncasecmp(p, name, n) && p[n] == ':') {
            p += n + 1;
            while (p < line && *p == ' ') p++;
            return (span){p, (size_t)(line - p)};
        }
        if (line == end) break;
    }
    return (span){NULL, 0};
}

static size_t chunk_size(const char *b, size_t n, size_t *size) { /* length of the chunk's size line, 0: incomplete */
    const char *eol = memmem(b, n, "\r\n", 2);
    if (!eol && n > 64) fail(EXIT_PROTOCOL, "bad chunk size line");
    if (!eol) return 0;
    size_t v = 0, k = 0;
    for (; b + k < eol && b[k] != ';' && b[k] != ' '; k++) {
        int d = b[k] >= '0' && b[k] <= '9' ? b[k] - '0' : (b[k] | 32) >= 'a' && (b[k] | 32) <= 'f' ? (b[k] | 32) - 'a' + 10 : -1;
        if (d < 0 || v > MAX_MESSAGE) fail(EXIT_PROTOCOL, "bad chunk size line");
        v = v * 16 + (size_t)d;
    }
    if (!k) fail(EXIT_PROTOCOL, "bad chunk size line");
    *size = v;
    return (size_t)(eol - b) + 2;
}

static bool http_head(char *b, size_t n, span *head, int *status) {
    char *end = memmem(b, n, "\r\n\r\n", 4);
    if (!end && n > 65536) fail(EXIT_PROTOCOL, "endless HTTP header");
    if (!end) return false;
    if (n < 12 || memcmp(b, "HTTP/1.1 ", 9)) fail(EXIT_PROTOCOL, "not an HTTP/1.1 answer: %.*s", (int)(n > 80 ? 80 : n), b);
    *head = (span){b, (size_t)(end - b)};
    *status = (b[9] - '0') * 100 + (b[10] - '0') * 10 + (b[11] - '0');
    return true;
}

static size_t http_feed(conn *c, char *b, size_t n) { /* one whole response */
    span head, body = {"", 0};
    int status;
    if (!http_head(b, n, &head, &status)) return 0;
    size_t off = head.n + 4;
    span length = http_header(head, "content-length"), coding = http_header(head, "transfer-encoding");
    span connection = http_header(head, "connection");
    if (connection.n == 5 && !strncasecmp(connection.p, "close", 5)) fail(EXIT_PROTOCOL, "the server does not keep the connection alive (status %d)", status);
    c->part.len = 0;
    if (length.n) {
        uint64_t size = js_uint(length, "Content-Length");
        if (size > MAX_MESSAGE) fail(EXIT_PROTOCOL, "response of %llu bytes", (unsigned long long)size);
        if (n - off < size) { c->want = off + (size_t)size; return 0; }
        body = (span){b + off, (size_t)size};
        off += (size_t)size;
    } else if (coding.n == 7 && !strncasecmp(coding.p, "chunked", 7)) {
        for (size_t size = 1, line; size;) {
            if (!(line = chunk_size(b + off, n - off, &size))) return 0;
            if (n - off < line + size + 2) return 0;
            buf_add(&c->part, b + off + line, size);
            off += line + size + 2;
        }
        body = (span){c->part.p ? c->part.p : "", c->part.len};
    } else if (status != 204 && status != 304) fail(EXIT_PROTOCOL, "response with neither Content-Length nor chunks (status %d)", status);
    if (!c->busy) fail(EXIT_PROTOCOL, "HTTP response without a request");
    c->busy = false;
    c->on_http(c, status, body);
    return off;
}

static void http_send(conn *c, const char *method, const char *path, const buf *body) {
    buf_str(&c->out, method);
    buf_str(&c->out, " ");
    buf_str(&c->out, path);
    buf_printf(&c->out, " HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n", target_port);
    if (body) buf_printf(&c->out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", body->len);
    buf_str(&c->out, "\r\n");
    if (body) buf_add(&c->out, body->p, body->len);
    c->busy = true;
    c->started = now();
    if (!c->in_handler) conn_flush(c);
}

static size_t sse_feed(conn *c, char *b, size_t n) { /* unpacks chunks, then splits events at empty lines */
    if (!c->sse_body) {
        span head;
        int status;
        if (!http_head(b, n, &head, &status)) return 0;
        if (status != 200 || !is(http_header(head, "transfer-encoding"), "chunked")) fail(EXIT_PROTOCOL, "event stream refused: %.*s", (int)(head.n > 200 ? 200 : head.n), head.p);
        c->sse_body = true;
        return head.n + 4;
    }
    if (!c->chunk_left) {
        size_t start = n >= 2 && b[0] == '\r' && b[1] == '\n' ? 2 : 0, size; /* end of the chunk before */
        if (n < 3) return 0;
        size_t line = chunk_size(b + start, n - start, &size);
        if (!line) return 0;
        if (!size) fail(EXIT_PROTOCOL, "connection %d: the server ended the event stream", c->id);
        c->chunk_left = size;
        return start + line;
    }
    size_t take = n < c->chunk_left ? n : c->chunk_left, from = 0;
    c->chunk_left -= take;
    buf_add(&c->part, b, take);
    for (char *end; (end = memmem(c->part.p + from, c->part.len - from, "\n\n", 2)); from = (size_t)(end - c->part.p) + 2)
        c->on_event(c, (span){c->part.p + from, (size_t)(end - c->part.p) - from});
    memmove(c->part.p, c->part.p + from, c->part.len - from);
    c->part.len -= from;
    if (!c->part.len && c->part.cap > 16384) buf_free(&c->part);
    if (c->part.len > MAX_MESSAGE) fail(EXIT_PROTOCOL, "connection %d: endless event", c->id);
    return take;
}

static void sse_connected(conn *c) {
    buf_printf(&c->out, "GET /api/realtime HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n\r\n", target_port);
}

/* ---------------------------------------------------------------------------------------------- sync protocol ---- */

typedef struct { span type, value, error; uint64_t query; } modification;
struct message {
    span type, result, error;
    bool success, has_id, has_ts, has_start, has_end;
    uint64_t request, ts;
    struct { uint64_t qs, identity, ts; } start, end;
    modification *mods;
    size_t mod_count;
};

static void parse_version(span s, uint64_t *qs, uint64_t *identity, uint64_t *ts) {
    const char *p, *end = s.p + s.n;
    span key, value;
    int seen = 0;
    if (!js_enter(s, &p)) bad_json(s.p, end);
    while (js_next(&p, end, &key, &value)) {
        if (is(key, "querySet")) *qs = js_uint(value, "querySet"), seen |= 1;
        else if (is(key, "identity")) *identity = js_uint(value, "identity"), seen |= 2;
        else if (is(key, "ts")) *ts = js_timestamp(value, "version ts"), seen |= 4;
    }
    if (seen != 7) fail(EXIT_PROTOCOL, "incomplete version: %.*s", (int)s.n, s.p);
}

static void parse_modifications(span s, message *m) {
    static modification *mods;
    static size_t cap;
    const char *p, *end = s.p + s.n;
    span item, key, value;
    if (!js_enter(s, &p)) bad_json(s.p, end);
    while (js_next(&p, end, NULL, &item)) {
        const char *q, *item_end = item.p + item.n;
        if (m->mod_count == cap) mods = must(realloc(mods, (cap = cap ? cap * 2 : 16) * sizeof *mods));
        modification *mod = &mods[m->mod_count++];
        *mod = (modification){.query = UINT64_MAX};
        if (!js_enter(item, &q)) bad_json(item.p, item_end);
        while (js_next(&q, item_end, &key, &value)) {
            if (is(key, "type")) mod->type = value;
            else if (is(key, "queryId")) mod->query = js_uint(value, "queryId");
            else if (is(key, "value")) mod->value = value;
            else if (is(key, "errorMessage")) mod->error = value;
        }
        if (!mod->type.n || mod->query == UINT64_MAX) fail(EXIT_PROTOCOL, "modification without type or queryId: %.*s", (int)(item.n > 120 ? 120 : item.n), item.p);
    }
    m->mods = mods;
}

/* Decodes one message, checks the version chain of Transitions, and hands it to the connection's callbacks. */
static void sync_message(conn *c, const char *p, size_t n) {
    const char *q, *end = p + n, *start = js_ws(p, end);
    span key, value, whole = {start, (size_t)(end - start)};
    message m = {0};
    if (!js_enter(whole, &q)) bad_json(p, end);
    span mods = {NULL, 0};
    while (js_next(&q, end, &key, &value)) {
        if (is(key, "type")) m.type = value;
        else if (is(key, "modifications")) mods = value;
        else if (is(key, "startVersion")) parse_version(value, &m.start.qs, &m.start.identity, &m.start.ts), m.has_start = true;
        else if (is(key, "endVersion")) parse_version(value, &m.end.qs, &m.end.identity, &m.end.ts), m.has_end = true;
        else if (is(key, "requestId")) m.request = js_uint(value, "requestId"), m.has_id = true;
        else if (is(key, "success")) m.success = is(value, "true");
        else if (is(key, "result")) m.result = value;
        else if (is(key, "error")) m.error = value;
        else if (is(key, "ts") && value.p[0] == '"') m.ts = js_timestamp(value, "ts"), m.has_ts = true;
    }
    if (is(m.type, "\"Ping\"")) { pings_in++; return; }
    if (is(m.type, "\"Transition\"")) {
        if (!m.has_start || !m.has_end || !mods.p) fail(EXIT_PROTOCOL, "incomplete Transition");
        if (m.start.qs != c->version.qs || m.start.identity != c->version.identity || m.start.ts != c->version.ts)
            fail(EXIT_PROTOCOL, "connection %d: Transition starts at (querySet %llu, identity %llu, ts %llu) but the last one ended at (%llu, %llu, %llu)",
                 c->id, (unsigned long long)m.start.qs, (unsigned long long)m.start.identity, (unsigned long long)m.start.ts,
                 (unsigned long long)c->version.qs, (unsigned long long)c->version.identity, (unsigned long long)c->version.ts);
        if (m.end.ts < m.start.ts || m.end.qs < m.start.qs || m.end.qs > c->sent_qs || m.end.identity)
            fail(EXIT_PROTOCOL, "connection %d: Transition to an impossible version (querySet %llu, ts %llu)", c->id, (unsigned long long)m.end.qs, (unsigned long long)m.end.ts);
        c->version.qs = m.end.qs, c->version.ts = m.end.ts;
        parse_modifications(mods, &m);
        if (c->on_transition) c->on_transition(c, &m);
        return;
    }
    if (is(m.type, "\"MutationResponse\"") && c->on_response) {
        if (!m.has_id || (m.success && !m.has_ts)) fail(EXIT_PROTOCOL, "MutationResponse without requestId or ts");
        if (m.request != c->answered || m.request >= c->next_request)
            fail(EXIT_PROTOCOL, "connection %d: response to request %llu, expected %llu (mutations are answered in order)", c->id, (unsigned long long)m.request, (unsigned long long)c->answered);
        c->answered++;
        c->on_response(c, &m);
        return;
    }
    fail(EXIT_PROTOCOL, "connection %d: unexpected message: %.*s", c->id, (int)(n > 300 ? 300 : n), p);
}

/* Session ids come from the kernel, not from --seed: a repeated session id would make the server answer from its record
 * of earlier mutations instead of executing. */
static void sync_hello(conn *c) {
    uint8_t u[16];
    struct timespec t;
    buf b = {0};
    if (getrandom(u, sizeof u, 0) != sizeof u) fail(EXIT_SLOW, "getrandom failed");
    clock_gettime(CLOCK_REALTIME, &t);
    buf_str(&b, "{\"type\":\"Connect\",\"sessionId\":\"");
    for (int k = 0; k < 16; k++)
        buf_printf(&b, "%s%02x", k == 4 || k == 6 || k == 8 || k == 10 ? "-" : "", k == 6 ? (u[k] & 15) | 0x40 : k == 8 ? (u[k] & 63) | 0x80 : u[k]);
    buf_printf(&b, "\",\"connectionCount\":0,\"lastCloseReason\":\"InitialConnect\",\"clientTs\":%lld}", (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000);
    ws_text(c, &b);
    buf_free(&b);
}

static void query_set_begin(conn *c, buf *b) {
    buf_printf(b, "{\"type\":\"ModifyQuerySet\",\"baseVersion\":%llu,\"newVersion\":%llu,\"modifications\":[", (unsigned long long)c->sent_qs, (unsigned long long)c->sent_qs + 1);
    c->sent_qs++;
}

static void query_set_add(conn *c, buf *b, const char *path, const template *args, values v) {
    if (b->p[b->len - 1] != '[') buf_str(b, ",");
    buf_printf(b, "{\"type\":\"Add\",\"queryId\":%llu,\"udfPath\":\"", (unsigned long long)c->next_query++);
    buf_str(b, path);
    buf_str(b, "\",\"args\":[");
    template_expand(b, args, v);
    buf_str(b, "]}");
}

static void query_set_end(conn *c, buf *b) {
    buf_str(b, "]}");
    ws_text(c, b);
    buf_free(b);
}

static void send_mutation(conn *c, const char *path, const template *args, values v) {
    static buf b;
    b.len = 0;
    buf_printf(&b, "{\"type\":\"Mutation\",\"requestId\":%llu,\"udfPath\":\"", (unsigned long long)c->next_request++);
    buf_str(&b, path);
    buf_str(&b, "\",\"args\":[");
    template_expand(&b, args, v);
    buf_str(&b, "]}");
    ws_text(c, &b);
}

/* A query that fails on the server makes every later number meaningless: stop with its message. */
static void refuse_failed_query(conn *c, const modification *mod) {
    if (is(mod->type, "\"QueryFailed\"")) fail(EXIT_PROTOCOL, "connection %d: query failed: %.*s", c->id, (int)(mod->error.n > 300 ? 300 : mod->error.n), mod->error.p);
}

static conn *sync_open(int id) {
    conn *c = conn_start(id);
    c->on_connect = ws_connected;
    c->feed = ws_upgrade_feed;
    return c;
}

static void hello_without_queries(conn *c) {
    buf b = {0};
    sync_hello(c);
    query_set_begin(c, &b);
    query_set_end(c, &b);
}

/* ------------------------------------------------------------------------------------- shared by subcommands ---- */

static template args_template, query_template, topic_template;
static hist latency, settle_latency, ack_latency, delivery_latency, last_latency;
static double start_time, record_from, stop_at; /* warm-up ends at record_from, sending at stop_at */
static bool sending;
static long counter; /* {i} */
static uint64_t successes, failures, responses_bytes;
static char *first_errors[3];
static bool first_errors_escaped[3]; /* the text is the inside of a JSON string already */
static int first_error_count;
static usage usage_before;

static void note_failure(span text) { /* keeps the first three messages */
    failures++;
    if (first_error_count == 3) return;
    if (text.n >= 2 && text.p[0] == '"' && text.n <= 2000) text.p++, text.n -= 2, first_errors_escaped[first_error_count] = true;
    first_errors[first_error_count++] = must(strndup(text.p, text.n > 2000 ? 2000 : text.n));
}

static bool recording(double t) { return t >= record_from && t < stop_at; }

/* Takes the usage sample that the CPU figures start from, once, when the warm-up is over. */
static void sample_usage(double t) {
    static bool taken;
    if (taken || t < record_from) return;
    taken = true;
    usage_before = measure();
}

static double phase_tick(double t) {
    sample_usage(t);
    if (t >= stop_at) sending = false;
    return t < record_from ? record_from : t < stop_at ? stop_at : 0;
}

static void phase_start(void) {
    start_time = now();
    record_from = start_time + opt.warmup;
    stop_at = record_from + opt.seconds;
    sending = true;
}

static void print_begin(void) {
    printf("{\"bench\":\"%s\",\"clients\":%ld,\"seconds\":%.3f", bench, opt.clients, opt.seconds);
}

static void print_end(double elapsed) {
    usage u = measure();
    double own = (u.own_cpu - usage_before.own_cpu) / elapsed;
    printf(",\"failures\":%llu,\"first_errors\":[", (unsigned long long)failures);
    for (int k = 0; k < first_error_count; k++) {
        if (k) putchar(',');
        if (first_errors_escaped[k]) printf("\"%s\"", first_errors[k]);
        else print_json_string(first_errors[k], strlen(first_errors[k]));
    }
    printf("],\"mb_received\":%.2f,\"generator_cpu\":%.2f,\"generator_bound\":%s", (double)bytes_in / 1e6, own, own > 0.9 ? "true" : "false");
    if (opt.pid > 0) printf(",\"server_cpu\":%.2f,\"server_rss_mb\":%.1f,\"server_pss_mb\":%.1f", (u.server_cpu - usage_before.server_cpu) / elapsed, u.rss_mb, u.pss_mb);
    printf("}\n");
    fflush(stdout);
}

/* Leaves politely: a close frame on every WebSocket, so that the server logs no broken connections. */
static void close_all(void) {
    for (long k = 0; k < conn_count; k++) {
        conn *c = &conns[k];
        if (!c->connected) continue;
        c->in_handler = true;
        if (c->feed == ws_feed && !c->out.len) {
            ws_send_frame(c, 8, "\x03\xe8", 2);
            if (send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) continue;
        }
    }
    for (long k = 0; k < conn_count; k++)
        if (conns[k].connected) close(conns[k].fd);
}

static _Noreturn void finish(int status) { close_all(); exit(status); }

/* -------------------------------------------------------------------------------------------------- mutate ---- */

static void mutate_next(conn *c) {
    c->sent_at[c->next_request % (uint64_t)opt.inflight] = now();
    send_mutation(c, opt.path, &args_template, (values){counter++, c->id, 0});
}

static void mutate_response(conn *c, message *m) {
    double t = now(), sent = c->sent_at[m->request % (uint64_t)opt.inflight];
    if (m->success) {
        if (c->settle_tail - c->settle_head == MAX_UNSETTLED) fail(EXIT_PROTOCOL, "connection %d: %d mutations answered but no Transition covers them", c->id, MAX_UNSETTLED);
        c->settle[c->settle_tail++ % MAX_UNSETTLED] = (struct unsettled){sent, m->ts, recording(t)};
    }
    if (recording(t)) {
        hist_add(&latency, t - sent);
        if (m->success) successes++; else note_failure(m->result);
    }
    if (sending) mutate_next(c);
}

static void mutate_transition(conn *c, message *m) {
    double t = now();
    conn_ready(c); /* the first one answers the empty ModifyQuerySet */
    for (; c->settle_head < c->settle_tail; c->settle_head++) {
        struct unsettled *s = &c->settle[c->settle_head % MAX_UNSETTLED];
        if (s->ts > m->end.ts) break;
        if (s->record) hist_add(&settle_latency, t - s->sent);
    }
}

static conn *mutate_open(int id) {
    conn *c = sync_open(id);
    c->on_open = hello_without_queries;
    c->on_transition = mutate_transition;
    c->on_response = mutate_response;
    c->sent_at = must(calloc((size_t)opt.inflight, sizeof *c->sent_at));
    c->settle = must(calloc(MAX_UNSETTLED, sizeof *c->settle));
    return c;
}

static bool mutate_done(void) {
    if (sending) return false;
    for (long k = 0; k < conn_count; k++)
        if (conns[k].answered < conns[k].next_request || conns[k].settle_head < conns[k].settle_tail) return false;
    return true;
}

static int run_mutate(void) {
    template_parse(&args_template, opt.args ? opt.args : "{}");
    need(opt.path, "path");
    conns_init(opt.clients);
    open_all(0, opt.clients, mutate_open);
    phase_start();
    for (long k = 0; k < opt.clients; k++)
        for (long j = 0; j < opt.inflight; j++) mutate_next(&conns[k]);
    run_loop(stop_at + opt.drain, mutate_done, phase_tick);
    uint64_t unanswered = 0, unsettled = 0, answered = 0;
    for (long k = 0; k < conn_count; k++) answered += conns[k].answered, unanswered += conns[k].next_request - conns[k].answered, unsettled += conns[k].settle_tail - conns[k].settle_head;
    print_begin();
    printf(",\"inflight\":%ld,\"successes\":%llu,\"rate\":%.1f", opt.inflight, (unsigned long long)successes, (double)successes / opt.seconds);
    print_hist("latency_ms", &latency);
    print_hist("settled_ms", &settle_latency);
    printf(",\"answered\":%llu,\"unanswered\":%llu,\"unsettled\":%llu,\"pings\":%llu", (unsigned long long)answered, (unsigned long long)unanswered, (unsigned long long)unsettled, (unsigned long long)(pings_in + ws_pings_in));
    print_end(now() - record_from);
    if (unanswered || unsettled) fprintf(stderr, "loadgen mutate: %llu mutations without response, %llu without a covering Transition\n", (unsigned long long)unanswered, (unsigned long long)unsettled);
    finish(unanswered || unsettled || !successes ? EXIT_INCOMPLETE : 0);
}

/* --------------------------------------------------------------------------------- closed-loop HTTP workloads ---- */

static const char *http_method;
static template http_path;
static bool (*http_good)(int status, span body, span *error);

static void http_next(conn *c) {
    static buf path, body;
    values v = {counter++, c->id, 0};
    path.len = body.len = 0;
    template_expand(&path, &http_path, v);
    buf_add(&path, "", 1);
    if (strcmp(http_method, "GET")) {
        if (opt.endpoint) { buf_str(&body, "{\"path\":\""); buf_str(&body, opt.path); buf_str(&body, "\",\"format\":\"convex_encoded_json\",\"args\":["); }
        template_expand(&body, &args_template, v);
        if (opt.endpoint) buf_str(&body, "]}");
        http_send(c, http_method, path.p, &body);
    } else http_send(c, http_method, path.p, NULL);
}

static void http_answer(conn *c, int status, span body) {
    double t = now();
    span error = {body.p, body.n};
    if (recording(t)) {
        hist_add(&latency, t - c->started);
        if (http_good(status, body, &error)) successes++; else note_failure(error);
        responses_bytes += body.n;
    }
    if (sending) http_next(c);
}

static void http_connected(conn *c) { conn_ready(c); }

static conn *http_open(int id) {
    conn *c = conn_start(id);
    c->feed = http_feed;
    c->on_connect = http_connected;
    c->on_http = http_answer;
    return c;
}

static bool http_done(void) {
    if (sending) return false;
    for (long k = 0; k < conn_count; k++) if (conns[k].busy) return false;
    return true;
}

static bool function_good(int status, span body, span *error) { /* {"status":"success","value":...} */
    const char *p;
    span key, value;
    if (status != 200 || !js_enter(body, &p)) return false;
    bool good = false;
    while (js_next(&p, body.p + body.n, &key, &value)) {
        if (is(key, "status")) good = is(value, "\"success\"");
        if (is(key, "errorMessage")) *error = value;
    }
    return good;
}

static bool rest_good(int status, span body, span *error) { (void)body, (void)error; return status >= 200 && status < 300; }

static int run_http(void) {
    template_parse(&args_template, opt.args ? opt.args : "{}");
    conns_init(opt.clients);
    open_all(0, opt.clients, http_open);
    phase_start();
    for (long k = 0; k < opt.clients; k++) http_next(&conns[k]);
    bool all = run_loop(stop_at + opt.drain, http_done, phase_tick);
    print_begin();
    printf(",\"successes\":%llu,\"rate\":%.1f,\"mean_body_bytes\":%.0f", (unsigned long long)successes, (double)successes / opt.seconds,
           latency.n ? (double)responses_bytes / (double)latency.n : 0);
    print_hist("latency_ms", &latency);
    print_end(now() - record_from);
    if (!all) fprintf(stderr, "loadgen %s: some requests were not answered\n", bench);
    finish(!all || !successes ? EXIT_INCOMPLETE : 0);
}

static int run_query(void) {
    need(opt.path, "path");
    if (!opt.endpoint) opt.endpoint = "/api/query";
    http_method = "POST";
    template_parse(&http_path, opt.endpoint);
    http_good = function_good;
    return run_http();
}

static int run_pb_create(void) {
    http_method = opt.method ? opt.method : "POST";
    opt.endpoint = NULL;
    template_parse(&http_path, opt.path ? opt.path : "/api/collections/messages/records");
    http_good = rest_good;
    return run_http();
}

static int run_pb_list(void) {
    http_method = "GET";
    opt.endpoint = NULL;
    template_parse(&http_path, opt.path ? opt.path : "/api/collections/messages/records?perPage=50&skipTotal=1&sort=-created&filter=(channel%3D%22c1%22)");
    http_good = rest_good;
    return run_http();
}

/* -------------------------------------------------------------------------------------------------- wsquery ---- */

/* One round trip = one ModifyQuerySet that removes the previous query and adds it again under a new query id. */
static void wsquery_next(conn *c) {
    buf b = {0};
    query_set_begin(c, &b);
    if (c->next_query) buf_printf(&b, "{\"type\":\"Remove\",\"queryId\":%llu}", (unsigned long long)c->next_query - 1);
    query_set_add(c, &b, opt.path, &args_template, (values){counter++, c->id, 0});
    c->started = now();
    c->busy = true;
    query_set_end(c, &b);
}

static void wsquery_open_done(conn *c) { sync_hello(c); wsquery_next(c); }

static void wsquery_transition(conn *c, message *m) {
    double t = now();
    for (size_t k = 0; k < m->mod_count; k++) {
        modification *mod = &m->mods[k];
        if (mod->query != c->next_query - 1 || !c->busy) continue; /* QueryRemoved of the one before, or a later update */
        bool good = is(mod->type, "\"QueryUpdated\"");
        c->busy = false;
        if (!c->counted) {
            refuse_failed_query(c, mod);
            conn_ready(c);
            continue;
        }
        if (recording(t)) {
            hist_add(&latency, t - c->started);
            responses_bytes += mod->value.n;
            if (good) successes++; else note_failure(mod->error);
        }
    }
    if (sending && !c->busy) wsquery_next(c);
}

static conn *wsquery_open(int id) {
    conn *c = sync_open(id);
    c->on_open = wsquery_open_done;
    c->on_transition = wsquery_transition;
    return c;
}

static int run_wsquery(void) {
    need(opt.path, "path");
    template_parse(&args_template, opt.args ? opt.args : "{}");
    conns_init(opt.clients);
    open_all(0, opt.clients, wsquery_open);
    phase_start();
    for (long k = 0; k < opt.clients; k++) wsquery_next(&conns[k]);
    bool all = run_loop(stop_at + opt.drain, http_done, phase_tick);
    print_begin();
    printf(",\"successes\":%llu,\"rate\":%.1f,\"mean_value_bytes\":%.0f", (unsigned long long)successes, (double)successes / opt.seconds,
           latency.n ? (double)responses_bytes / (double)latency.n : 0);
    print_hist("latency_ms", &latency);
    print_end(now() - record_from);
    if (!all) fprintf(stderr, "loadgen wsquery: some queries were not answered\n");
    finish(!all || !successes ? EXIT_INCOMPLETE : 0);
}

/* --------------------------------------------------------------------------------------- PocketBase realtime ---- */

#define SUBSCRIBERS_POOL 8 /* HTTP connections used for POST /api/realtime */
static char (*client_ids)[64];
static long *subscribe_queue, subscribe_head, subscribe_tail, pool_from;

static void subscribe_next(conn *c) { /* c: an idle connection of the pool */
    static buf body;
    if (subscribe_head == subscribe_tail || c->busy) return;
    long client = c->job = subscribe_queue[subscribe_head++];
    long g = opt.groups > 0 ? client % opt.groups : client;
    body.len = 0;
    buf_printf(&body, "{\"clientId\":\"%s\",\"subscriptions\":[", client_ids[client]);
    for (long s = 0; s < opt.subs; s++) {
        buf_str(&body, s ? ",\"" : "\"");
        template_expand(&body, &topic_template, (values){client * opt.subs + s, g, s});
        buf_str(&body, "\"");
    }
    buf_str(&body, "]}");
    http_send(c, "POST", "/api/realtime", &body);
}

static void subscribe_answer(conn *c, int status, span body) {
    if (status != 204) fail(EXIT_PROTOCOL, "subscribing failed: status %d: %.*s", status, (int)(body.n > 200 ? 200 : body.n), body.p);
    conn_ready(&conns[c->job]);
    subscribe_next(c);
}

static void fanout_event(conn *c, span event);

static void sse_event(conn *c, span event) {
    if (client_ids[c->id][0]) { fanout_event(c, event); return; }
    char *p = memmem(event.p, event.n, "\"clientId\":\"", 12);
    char *end = p ? memchr(p + 12, '"', event.n - (size_t)(p + 12 - event.p)) : NULL;
    if (!end || end - p - 12 > 63) fail(EXIT_PROTOCOL, "no clientId in the first event: %.*s", (int)(event.n > 200 ? 200 : event.n), event.p);
    memcpy(client_ids[c->id], p + 12, (size_t)(end - p) - 12);
    subscribe_queue[subscribe_tail++] = c->id;
    for (long k = pool_from; k < pool_from + SUBSCRIBERS_POOL; k++)
        if (!conns[k].busy) { subscribe_next(&conns[k]); break; }
}

static conn *pool_open(int id) {
    conn *c = http_open(id);
    c->on_http = subscribe_answer;
    return c;
}

static conn *sse_open(int id) {
    conn *c = conn_start(id);
    c->on_connect = sse_connected;
    c->feed = sse_feed;
    c->on_event = sse_event;
    return c;
}

/* Opens N event streams and subscribes each; the pool takes the connections [pool, pool + SUBSCRIBERS_POOL). */
static double open_sse(long clients, long pool) {
    client_ids = must(calloc((size_t)clients, sizeof *client_ids));
    subscribe_queue = must(calloc((size_t)clients, sizeof *subscribe_queue));
    pool_from = pool;
    open_all(pool, pool + SUBSCRIBERS_POOL, pool_open);
    return open_all(0, clients, sse_open);
}

/* -------------------------------------------------------------------------------------------------- fan-out ---- */

/*
 * Clients are divided into groups: client k belongs to group k mod groups, and {c} in the query arguments or topic is
 * the group. Without {c} there is one group. Write w goes to group w mod groups, or with --only-client K always to the
 * group of K; {c} in the write's arguments is that group. `order` counts the writes of one group.
 */
typedef struct { double due; long expect, left; bool answered, failed; } fan_write;
static fan_write *writes;
static long write_count, write_cap, writes_answered, writes_unfinished, writer_from, writer_to, write_limit;
static uint64_t deliveries, updates, expected_deliveries;
static double last_delivery;
static bool pocketbase;

static long write_group(long w) { return opt.only_client >= 0 ? opt.only_client % opt.groups : w % opt.groups; }
static long write_order(long w) { return opt.only_client >= 0 ? w : w / opt.groups; }
static long write_at(long group, long order) { return opt.only_client >= 0 ? order : order * opt.groups + group; }
static long group_size(long g) { return opt.clients / opt.groups + (g < opt.clients % opt.groups); }

static void fanout_send(conn *writer, double due) {
    static buf body, path;
    long w = write_count, g = write_group(w), expect = group_size(g);
    if (w == write_cap) writes = must(realloc(writes, (size_t)(write_cap = write_cap ? write_cap * 2 : 4096) * sizeof *writes));
    writes[write_count++] = (fan_write){.due = due, .expect = expect, .left = expect};
    writes_unfinished++;
    writer->job = w;
    if (!pocketbase) { send_mutation(writer, opt.path, &args_template, (values){w, g, 0}); return; }
    body.len = path.len = 0;
    template_expand(&body, &args_template, (values){w, g, 0});
    template_expand(&path, &http_path, (values){w, g, 0});
    buf_add(&path, "", 1);
    http_send(writer, http_method, path.p, &body);
}

/* Sends what is due: at a fixed rate, latency counts from the moment a write was due, not from when it could be sent, so
 * that a stalled server cannot hide its stalls. Returns when the next write is due. */
static double fanout_tick(double t) {
    double wake = phase_tick(t);
    for (;;) {
        double due = opt.rate > 0 ? start_time + (double)write_count / opt.rate : t;
        if (due >= stop_at) { sending = false; return t < stop_at ? stop_at : 0; }
        if (!sending || (opt.rate == 0 && writes_unfinished)) return wake;
        if (due > t) return wake > 0 && wake < due ? wake : due;
        conn *free_writer = NULL;
        for (long k = writer_from; k < writer_to && !free_writer; k++)
            if (pocketbase ? !conns[k].busy : (long)(conns[k].next_request - conns[k].answered) < write_limit) free_writer = &conns[k];
        if (!free_writer) return wake;
        fanout_send(free_writer, due);
    }
}

static void finish_write(fan_write *w) {
    if (w->answered && (w->left == 0 || w->failed)) writes_unfinished--;
}

static void write_answered(long n, bool good, span error) {
    double t = now();
    fan_write *w = &writes[n];
    w->answered = true;
    writes_answered++;
    if (w->due >= record_from) {
        hist_add(&ack_latency, t - w->due);
        if (good) successes++, expected_deliveries += (uint64_t)w->expect;
        else {
            note_failure(error);
            deliveries -= (uint64_t)(w->expect - w->left); /* a later write's Transition was taken to cover this one */
        }
    }
    w->failed = !good;
    finish_write(w);
    if (opt.rate == 0 && !writes_unfinished) fanout_tick(t);
}

static void delivered(long n, double t) { /* one client has seen write n */
    fan_write *w = &writes[n];
    if (w->failed) fail(EXIT_PROTOCOL, "write %ld was reported as failed but was delivered", n);
    if (w->left == 0) fail(EXIT_PROTOCOL, "write %ld was delivered more often than there are subscribers", n);
    w->left--;
    if (w->due >= record_from) {
        deliveries++;
        last_delivery = t;
        hist_add(&delivery_latency, t - w->due);
        if (!w->left) hist_add(&last_latency, t - w->due);
    }
    if (!w->left) {
        finish_write(w);
        if (opt.rate == 0 && !writes_unfinished) fanout_tick(t);
    }
}

static void check_token(conn *c, long n) {
    if (n >= write_count) fail(EXIT_PROTOCOL, "connection %d: saw write %ld, which was never sent", c->id, n);
    if (write_group(n) != c->id % opt.groups) fail(EXIT_PROTOCOL, "connection %d: saw write %ld, which does not concern its query", c->id, n);
}

static void fanout_transition(conn *c, message *m) {
    double t = now();
    for (size_t k = 0; k < m->mod_count; k++) {
        refuse_failed_query(c, &m->mods[k]);
        if (!is(m->mods[k].type, "\"QueryUpdated\"")) continue;
        if (m->mods[k].query != 0) fail(EXIT_PROTOCOL, "connection %d: update of a query it does not have", c->id);
        conn_ready(c);
        long n = find_token(m->mods[k].value.p, m->mods[k].value.n);
        if (n < 0) continue; /* the state before the first write */
        check_token(c, n);
        if (writes[n].due >= record_from) updates++;
        for (long order = write_order(n); c->next_order <= order; c->next_order++) {
            long w = write_at(c->id % opt.groups, c->next_order); /* covered, perhaps skipped by coalescing */
            if (!writes[w].failed) delivered(w, t);
        }
    }
}

static void fanout_event(conn *c, span event) { /* PocketBase sends one event per write: every token is counted on its own */
    double t = now();
    long n = find_token(event.p, event.n);
    if (n < 0) return;
    check_token(c, n);
    if (writes[n].due >= record_from) updates++;
    delivered(n, t);
}

static void fanout_subscribe(conn *c) {
    buf b = {0};
    sync_hello(c);
    query_set_begin(c, &b);
    query_set_add(c, &b, opt.query, &query_template, (values){c->id, c->id % opt.groups, 0});
    query_set_end(c, &b);
}

static void writer_response(conn *c, message *m) { (void)c; write_answered((long)m->request, m->success, m->result); }
static void writer_http(conn *c, int status, span body) { write_answered(c->job, status >= 200 && status < 300, body); }
static void writer_transition(conn *c, message *m) { (void)m; conn_ready(c); }

static conn *fanout_open(int id) {
    conn *c = sync_open(id);
    c->on_open = fanout_subscribe;
    c->on_transition = fanout_transition;
    return c;
}

static conn *writer_open(int id) {
    conn *c = pocketbase ? http_open(id) : sync_open(id);
    c->on_open = hello_without_queries;
    c->on_transition = writer_transition;
    c->on_response = writer_response;
    c->on_http = writer_http;
    return c;
}

static bool fanout_done(void) { return !sending && !writes_unfinished; }

/* Puts {token} at the start of the "body" string when the arguments do not say where it belongs. */
static void parse_fanout_args(char *args) {
    template_parse(&args_template, args);
    if (template_has(&args_template, TOKEN)) return;
    char *at = strstr(args, "\"body\":\"");
    if (!at) fail(EXIT_USAGE, "--args needs {token}, or a \"body\":\"...\" string to put it in");
    buf b = {0};
    buf_add(&b, args, (size_t)(at - args) + 8);
    buf_str(&b, "{token} ");
    buf_add(&b, at + 8, strlen(at + 8) + 1);
    template_parse(&args_template, b.p); /* b stays: the template points into it */
}

static void check_groups(bool distinct) {
    bool aimed = template_has(&args_template, CLIENT) || template_has(&http_path, CLIENT);
    if (!opt.groups) opt.groups = distinct ? opt.clients : 1;
    if (opt.groups < 1 || opt.groups > opt.clients || opt.only_client >= opt.clients) fail(EXIT_USAGE, "--groups is 1..clients, --only-client 0..clients-1");
    if (!distinct && opt.groups > 1) fail(EXIT_USAGE, "--groups needs {c} in the query arguments or topic");
    if (distinct && opt.groups > 1 && !aimed && opt.only_client < 0)
        fail(EXIT_USAGE, "queries differ per client ({c}) but writes do not: put {c} into --args, or name the client they reach with --only-client K");
}

static void fanout_run(double setup, long connections) {
    (void)connections;
    phase_start();
    run_loop(stop_at + opt.drain, fanout_done, fanout_tick);
    double until = last_delivery > record_from ? last_delivery : now();
    double elapsed = opt.rate > 0 && until < stop_at ? opt.seconds : until - record_from;
    uint64_t missing = 0, recorded = 0;
    for (long k = 0; k < write_count; k++) {
        if (writes[k].due < record_from) continue;
        recorded++;
        if (!writes[k].failed) missing += (uint64_t)writes[k].left;
    }
    print_begin();
    printf(",\"groups\":%ld,\"target_rate\":%.1f,\"setup_seconds\":%.3f,\"writes\":%llu,\"writes_acknowledged\":%llu,\"write_rate\":%.1f", opt.groups, opt.rate, setup,
           (unsigned long long)recorded, (unsigned long long)successes, (double)successes / elapsed);
    printf(",\"deliveries\":%llu,\"deliveries_per_s\":%.1f,\"missing\":%llu,\"updates_received\":%llu", (unsigned long long)deliveries,
           (double)deliveries / elapsed, (unsigned long long)missing, (unsigned long long)updates);
    print_hist("ack_ms", &ack_latency);
    print_hist("delivery_ms", &delivery_latency);
    print_hist("last_client_ms", &last_latency);
    printf(",\"pings\":%llu", (unsigned long long)(pings_in + ws_pings_in));
    print_end(now() - record_from);
    if (missing || writes_answered < write_count) fprintf(stderr, "loadgen %s: %llu deliveries and %ld write answers are missing\n", bench, (unsigned long long)missing, write_count - writes_answered);
    finish(missing || writes_answered < write_count || !successes ? EXIT_INCOMPLETE : 0);
}

static int run_fanout(void) {
    need(opt.query, "query");
    need(opt.path, "path");
    template_parse(&query_template, opt.query_args ? opt.query_args : "{}");
    parse_fanout_args(need(opt.args, "args"));
    check_groups(template_has(&query_template, CLIENT));
    write_limit = opt.inflight > 1 ? opt.inflight : 256; /* writes in flight; the server's own limit is 1000 */
    conns_init(opt.clients + 1);
    double setup = open_all(0, opt.clients, fanout_open);
    writer_from = opt.clients, writer_to = opt.clients + 1;
    open_all(writer_from, writer_to, writer_open);
    fanout_run(setup, opt.clients + 1);
    return 0;
}

static int run_pb_fanout(void) {
    pocketbase = true;
    http_method = opt.method ? opt.method : "POST";
    opt.subs = 1;
    if (!opt.writers) opt.writers = opt.rate > 0 ? 16 : 1; /* HTTP/1.1 carries one write at a time per connection */
    template_parse(&topic_template, opt.topic ? opt.topic : "messages/*");
    template_parse(&http_path, opt.path ? opt.path : "/api/collections/messages/records");
    parse_fanout_args(need(opt.args, "args"));
    check_groups(template_has(&topic_template, CLIENT));
    writer_from = opt.clients + SUBSCRIBERS_POOL, writer_to = writer_from + opt.writers;
    conns_init(writer_to);
    double setup = open_sse(opt.clients, opt.clients);
    open_all(writer_from, writer_to, writer_open);
    fanout_run(setup, writer_to);
    return 0;
}

/* ---------------------------------------------------------------------------------------------------- idle ---- */

static long idle_transitions;

static void idle_subscribe(conn *c) {
    buf b = {0};
    sync_hello(c);
    query_set_begin(c, &b);
    for (long s = 0; s < opt.subs; s++) query_set_add(c, &b, opt.query, &query_template, (values){c->id * opt.subs + s, c->id, s});
    query_set_end(c, &b);
}

static void idle_transition(conn *c, message *m) {
    idle_transitions++;
    for (size_t k = 0; k < m->mod_count; k++) {
        refuse_failed_query(c, &m->mods[k]);
        if (!c->counted && is(m->mods[k].type, "\"QueryUpdated\"")) c->job++; /* first results, in one Transition or several */
    }
    if (!c->counted && c->job >= opt.subs && m->end.qs == 1) conn_ready(c);
}

static conn *idle_open(int id) {
    conn *c = sync_open(id);
    c->on_open = idle_subscribe;
    c->on_transition = idle_transition;
    return c;
}

static int idle_report(usage before, double setup) {
    usage held = measure();
    uint64_t received = bytes_in;
    idle_transitions = 0;
    phase_start();
    run_loop(stop_at, NULL, phase_tick);
    usage after = measure();
    double per = 1024.0 / (double)opt.clients;
    print_begin();
    printf(",\"subscriptions\":%ld,\"setup_seconds\":%.3f,\"sessions_per_s\":%.1f", opt.clients * opt.subs, setup, (double)opt.clients / setup);
    printf(",\"held_transitions\":%ld,\"held_bytes\":%llu,\"pings\":%llu", idle_transitions, (unsigned long long)(bytes_in - received), (unsigned long long)(pings_in + ws_pings_in));
    if (opt.pid > 0)
        printf(",\"rss_before_mb\":%.1f,\"rss_opened_mb\":%.1f,\"rss_after_mb\":%.1f,\"rss_kb_per_client\":%.2f,\"pss_kb_per_client\":%.2f", before.rss_mb, held.rss_mb,
               after.rss_mb, (after.rss_mb - before.rss_mb) * per, (after.pss_mb - before.pss_mb) * per);
    print_end(now() - record_from);
    finish(0);
}

static int run_idle(void) {
    if (opt.subs) need(opt.query, "query");
    template_parse(&query_template, opt.query_args ? opt.query_args : "{\"channel\":\"idle{i}\"}");
    usage before = measure();
    conns_init(opt.clients);
    double setup = open_all(0, opt.clients, idle_open);
    return idle_report(before, setup);
}

static int run_pb_idle(void) {
    template_parse(&topic_template, opt.topic ? opt.topic : "messages/idle{i:11}");
    usage before = measure();
    conns_init(opt.clients + SUBSCRIBERS_POOL);
    double setup = open_sse(opt.clients, opt.clients);
    return idle_report(before, setup);
}

/* ---------------------------------------------------------------------------------------------------- main ---- */

static const struct { const char *name, *scheme; int (*run)(void); } commands[] = {
    {"mutate", "ws://", run_mutate}, {"fanout", "ws://", run_fanout}, {"query", "http://", run_query},
    {"wsquery", "ws://", run_wsquery}, {"idle", "ws://", run_idle}, {"pb-create", "http://", run_pb_create},
    {"pb-list", "http://", run_pb_list}, {"pb-fanout", "http://", run_pb_fanout}, {"pb-idle", "http://", run_pb_idle}};

static void on_alarm(int signal_number) {
    (void)signal_number;
    static const char text[] = "{\"error\":\"loadgen did not finish in its time limit\"}\n";
    if (write(STDOUT_FILENO, text, sizeof text - 1) < 0) _exit(EXIT_SLOW);
    _exit(EXIT_SLOW);
}

int main(int argc, char **argv) {
    size_t count = sizeof commands / sizeof *commands, k = 0;
    while (argc > 1 && k < count && strcmp(argv[1], commands[k].name)) k++;
    if (argc < 2 || k == count) {
        fprintf(stderr, "usage: loadgen SUBCOMMAND --url URL [options]; see bench/README.md\nsubcommands:");
        for (k = 0; k < count; k++) fprintf(stderr, " %s", commands[k].name);
        fprintf(stderr, "\noptions:");
        for (k = 0; k < sizeof options / sizeof *options; k++) fprintf(stderr, " --%s", options[k].name);
        fprintf(stderr, "\n");
        return EXIT_USAGE;
    }
    bench = commands[k].name;
    parse_options(argc - 2, argv + 2, commands[k].scheme);
    uint32_t nonce = 0;
    if (getrandom(&nonce, sizeof nonce, 0) != sizeof nonce) fail(EXIT_SLOW, "getrandom failed");
    snprintf(token_prefix, sizeof token_prefix, "~%06x:", nonce & 0xffffff);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)(3 * opt.setup_timeout + opt.warmup + opt.seconds + opt.drain) + 5);
    return commands[k].run();
}
