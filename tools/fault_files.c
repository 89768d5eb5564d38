/* Faults in a program's writing to one folder, for tools/fault_kill.py and tests/reliability.rs:
 *
 *     cc -shared -fPIC -O1 -o fault_files.so tools/fault_files.c -ldl
 *     LD_PRELOAD=fault_files.so FAULT_FOLDER=RUN/ FAULT_KILL_AT=12 vnet-engine train ...
 *
 * FAULT_FOLDER       operations on files whose real path starts with this count from 1: creating, writing, flushing,
 *                    truncating, removing (renames are made by direct system calls, which a library cannot see; they are
 *                    atomic, and the operations before and after them are seen)
 * FAULT_KILL_AT=N    SIGKILL instead of operation N; of a write, half of its bytes are written first
 * FAULT_FULL=N-M     creating and writing fail as on a full disk from operation N to operation M, writing after half the bytes
 * FAULT_RECORD=F     the operation that was killed, or at the end the number of operations, is appended to F
 * FAULT_CHUNK=BYTES  writes take at most this many bytes at once, so that there is more to be killed between
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_long operations;

/* The next definition of the function of this name. */
#define NEXT(type, name, ...) ((type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name))

static void record(const char *text, const char *path, long number) {
    const char *file = getenv("FAULT_RECORD");
    if (!file) return;
    int fd = NEXT(int, open, const char *, int, ...)(file, O_WRONLY | O_CREAT | O_APPEND, 0666);
    char line[PATH_MAX + 64];
    int length = snprintf(line, sizeof line, "%s %ld %s\n", text, number, path);
    NEXT(ssize_t, write, int, const void *, size_t)(fd, line, length);
    NEXT(int, close, int)(fd);
}

/* Whether the path lies in the folder. */
static int watched(const char *path) {
    const char *folder = getenv("FAULT_FOLDER");
    return folder && strncmp(path, folder, strlen(folder)) == 0;
}

static int path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
    return length > 0 && watched(path);
}

/* Counts an operation; whether it is the one to be killed at. */
static int due(void) {
    const char *at = getenv("FAULT_KILL_AT");
    long number = ++operations;
    return at && number == atol(at);
}

static void die(const char *what, const char *path) {
    record(what, path, operations);
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether the disk is full at this operation. */
static int full(void) {
    const char *range = getenv("FAULT_FULL");
    long from, to;
    return range && sscanf(range, "%ld-%ld", &from, &to) == 2 && operations >= from && operations <= to;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t (*next)(int, const void *, size_t) = NEXT(ssize_t, write, int, const void *, size_t);
    char path[PATH_MAX];
    if (!path_of(fd, path)) return next(fd, bytes, count);
    const char *chunk = getenv("FAULT_CHUNK");
    if (chunk && count > (size_t)atol(chunk)) count = atol(chunk);
    if (due()) {
        next(fd, bytes, count / 2);
        die("write", path);
    }
    if (full()) {
        if (count > 1) return next(fd, bytes, count / 2);
        errno = ENOSPC;
        return -1;
    }
    return next(fd, bytes, count);
}

/* The parent is looked at, since the file need not exist. */
static int guard_path(const char *what, const char *path) {
    char folder[PATH_MAX], real[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) *slash = 0;
    else strcpy(folder, ".");
    if (!realpath(*folder ? folder : "/", real)) return 0;
    strncat(real, "/", sizeof real - strlen(real) - 1);
    if (!watched(real)) return 0;
    if (due()) die(what, path);
    return full();
}

static int opened(const char *name, const char *path, int flags, mode_t mode) {
    int (*next)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
    if ((flags & O_CREAT) && guard_path("create", path)) {
        errno = ENOSPC;
        return -1;
    }
    return next(path, flags, mode);
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened("open", path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return opened("open64", path, flags, mode);
}

#define ON_FD(type, name, parameters, arguments, ...)                                                                \
    type name parameters {                                                                                           \
        char path[PATH_MAX];                                                                                         \
        if (path_of(fd, path) && due()) die(#name, path);                                                            \
        return NEXT(type, name, __VA_ARGS__) arguments;                                                              \
    }
ON_FD(int, fsync, (int fd), (fd), int)
ON_FD(int, fdatasync, (int fd), (fd), int)
ON_FD(int, ftruncate, (int fd, off_t length), (fd, length), int, off_t)
ON_FD(int, ftruncate64, (int fd, off64_t length), (fd, length), int, off64_t)

int unlink(const char *path) {
    guard_path("unlink", path);
    return NEXT(int, unlink, const char *)(path);
}

__attribute__((destructor)) static void at_end(void) { record("end", "", operations); }
