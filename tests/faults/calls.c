/* Fails the Nth call of one kind that concerns a file below one folder; loaded before libc by LD_PRELOAD.

   FAULTS_STATE names a file of `struct state`, which all processes of a run share; FAULTS_ROOT is the folder. Calls that
   libc makes within itself are not seen: fwrite's own write, say. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum call { OPEN, WRITE, SYNC, RENAME, MAP, CALLS };

struct state {
    _Atomic long counts[CALLS]; /* calls so far, of each kind */
    long nth;                   /* the one to fail, from 1; 0: none */
    int call;
    int error;
};

static struct state *state;
static const char *root;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_STATE");
    root = getenv("FAULTS_ROOT");
    if (!path || !root) return;
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int descriptor = real(path, O_RDWR);
    if (descriptor < 0) return;
    void *(*map)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
    void *memory = map(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    close(descriptor);
    if (memory != MAP_FAILED) state = memory;
}

static int below(const char *path) {
    size_t length = strlen(root);
    return strncmp(path, root, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static int concerns_name(int folder, const char *name) {
    if (!state || !name) return 0;
    if (name[0] == '/') return below(name);
    char path[PATH_MAX];
    if (folder == AT_FDCWD) return getcwd(path, sizeof path) && below(path);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

static int concerns_file(int descriptor) {
    if (!state || descriptor < 0) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

/* Counts a call, and says whether it is the one to fail. */
static int fails(enum call call) {
    long number = atomic_fetch_add(&state->counts[call], 1) + 1;
    if (state->nth && call == (enum call)state->call && number == state->nth) {
        errno = state->error;
        return 1;
    }
    return 0;
}

#define REAL(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name))

static mode_t mode_of(int flags, va_list arguments) {
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

#define OPENER(name)                                                                              \
    int name(const char *path, int flags, ...) {                                                  \
        va_list arguments;                                                                        \
        va_start(arguments, flags);                                                               \
        mode_t mode = mode_of(flags, arguments);                                                  \
        va_end(arguments);                                                                        \
        if (concerns_name(AT_FDCWD, path) && fails(OPEN)) return -1;                              \
        return REAL(int, #name, const char *, int, ...)(path, flags, mode);                       \
    }
OPENER(open)
OPENER(open64)

#define OPENER_AT(name)                                                                           \
    int name(int folder, const char *path, int flags, ...) {                                      \
        va_list arguments;                                                                        \
        va_start(arguments, flags);                                                               \
        mode_t mode = mode_of(flags, arguments);                                                  \
        va_end(arguments);                                                                        \
        if (concerns_name(folder, path) && fails(OPEN)) return -1;                                \
        return REAL(int, #name, int, const char *, int, ...)(folder, path, flags, mode);          \
    }
OPENER_AT(openat)
OPENER_AT(openat64)

#define STREAM_OPENER(name)                                                                       \
    FILE *name(const char *path, const char *mode) {                                              \
        if (concerns_name(AT_FDCWD, path) && fails(OPEN)) return NULL;                            \
        return REAL(FILE *, #name, const char *, const char *)(path, mode);                       \
    }
STREAM_OPENER(fopen)
STREAM_OPENER(fopen64)

ssize_t write(int descriptor, const void *data, size_t size) {
    if (concerns_file(descriptor) && fails(WRITE)) return -1;
    return REAL(ssize_t, "write", int, const void *, size_t)(descriptor, data, size);
}
ssize_t writev(int descriptor, const struct iovec *parts, int number) {
    if (concerns_file(descriptor) && fails(WRITE)) return -1;
    return REAL(ssize_t, "writev", int, const struct iovec *, int)(descriptor, parts, number);
}
ssize_t pwrite(int descriptor, const void *data, size_t size, off_t place) {
    if (concerns_file(descriptor) && fails(WRITE)) return -1;
    return REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)(descriptor, data, size, place);
}
ssize_t pwrite64(int descriptor, const void *data, size_t size, off64_t place) {
    if (concerns_file(descriptor) && fails(WRITE)) return -1;
    return REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)(descriptor, data, size, place);
}

#define SYNC_CALL(name)                                                                           \
    int name(int descriptor) {                                                                    \
        if (concerns_file(descriptor) && fails(SYNC)) return -1;                                  \
        return REAL(int, #name, int)(descriptor);                                                 \
    }
SYNC_CALL(fsync)
SYNC_CALL(fdatasync)

int rename(const char *from, const char *to) {
    if (concerns_name(AT_FDCWD, to) && fails(RENAME)) return -1;
    return REAL(int, "rename", const char *, const char *)(from, to);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    if (concerns_name(to_folder, to) && fails(RENAME)) return -1;
    return REAL(int, "renameat", int, const char *, int, const char *)(from_folder, from, to_folder, to);
}

#define MAPPER(name, offset)                                                                      \
    void *name(void *place, size_t size, int protection, int flags, int descriptor, offset from) { \
        if (descriptor >= 0 && concerns_file(descriptor) && fails(MAP)) return MAP_FAILED;        \
        return REAL(void *, #name, void *, size_t, int, int, int, offset)(place, size, protection, flags, descriptor, from); \
    }
MAPPER(mmap, off_t)
MAPPER(mmap64, off64_t)
