/* Kills the process that loads it at a chosen system call that may change the data directory.
 *
 *   cc -shared -fPIC -O2 -o killshim.so killshim.c -ldl
 *   KILLSHIM_DIRECTORY=/data KILLSHIM_ORDER=/tmp/order KILLSHIM_TRACE=/tmp/trace \
 *       LD_PRELOAD=./killshim.so twistd ...
 *
 * KILLSHIM_ORDER names a file of 8 bytes: a number as a native int32_t, and an int32_t that is 0 to
 * kill before the call of that number, 1 to kill after it.  Number 0 means never.  The file is
 * mapped, so a new order counts from the next call on, in a process that runs already; each call
 * takes 1 off the number, and the call that takes it to 0 is the one.  A file can only be seen by
 * the processes it is meant for, if each has its own.
 *
 * KILLSHIM_TRACE names a file that gets a line for every call that was counted.
 *
 * What counts: every call that can change what the directory holds, on a path in it or a descriptor
 * of something in it.  An open that cannot create or write leaves the disk as it was, so dying there
 * is dying at the call before.  The names are those that CPython imports from libc (`nm -D`).
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct order {
    int32_t left;
    int32_t after;
};

static volatile struct order *order;
static const char *directory;
static size_t length;
static int trace = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("KILLSHIM_ORDER");
    directory = getenv("KILLSHIM_DIRECTORY");
    if (path == NULL || directory == NULL)
        return;
    length = strlen(directory);
    const char *log = getenv("KILLSHIM_TRACE");
    if (log != NULL)
        trace = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return;
    void *map = mmap(NULL, sizeof *order, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED)
        order = map;
    close(fd);
}

static int is_inside(const char *path)
{
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}

/* Whether it touches the directory; its path is left in shown. */
static int touches(int fd, const char *path, char *shown)
{
    char link[64];
    char above[PATH_MAX];
    if (path != NULL && path[0] == '/') {
        snprintf(shown, PATH_MAX, "%s", path);
        return is_inside(path);
    }
    if (fd == AT_FDCWD)
        snprintf(link, sizeof link, "/proc/self/cwd");
    else
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = syscall(SYS_readlinkat, AT_FDCWD, link, above, sizeof above - 1);
    if (size < 0)
        return 0;
    above[size] = '\0';
    if (path == NULL)
        snprintf(shown, PATH_MAX, "%s", above);
    else if (snprintf(shown, PATH_MAX, "%s/%s", above, path) >= PATH_MAX)
        return 0;
    return is_inside(shown);
}

static void die(void)
{
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Count a call that is about to be made; returns 1 if this is the one to die after. */
static int count(const char *name, int fd, const char *path)
{
    char shown[PATH_MAX];
    char line[PATH_MAX + 64];
    int saved = errno;
    int last = 0;
    if (order != NULL && order->left > 0 && touches(fd, path, shown)) {
        int32_t left = __atomic_sub_fetch(&order->left, 1, __ATOMIC_SEQ_CST);
        if (trace >= 0 && left >= 0) {
            int size = snprintf(line, sizeof line, "%s %s\n", name, shown + length);
            if (size > 0)
                syscall(SYS_write, trace, line, (size_t)size);
        }
        if (left == 0) {
            if (!order->after)
                die();
            last = 1;
        }
    }
    errno = saved;
    return last;
}

#define REAL(name)                                                                                 \
    static __typeof__(name) *real;                                                                 \
    if (real == NULL)                                                                              \
        real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);

/* One wrapper: the result's type, the call, its parameters, its arguments, and what it touches. */
#define WRAP(type, name, parameters, arguments, fd, path)                                          \
    type name parameters                                                                           \
    {                                                                                              \
        REAL(name)                                                                                 \
        int last = count(#name, fd, path);                                                         \
        type result = real arguments;                                                              \
        if (last)                                                                                  \
            die();                                                                                 \
        return result;                                                                             \
    }

#define CHANGES(flags) ((flags) & (O_CREAT | O_TRUNC | O_WRONLY | O_RDWR))

/* The opens have a mode only if they may create. */
#define WRAP_OPEN(name, parameters, arguments, fd)                                                 \
    int name parameters                                                                            \
    {                                                                                              \
        REAL(name)                                                                                 \
        va_list more;                                                                              \
        va_start(more, flags);                                                                     \
        mode_t mode = (flags & (O_CREAT | __O_TMPFILE)) ? va_arg(more, mode_t) : 0;                \
        va_end(more);                                                                              \
        int last = CHANGES(flags) ? count(#name, fd, path) : 0;                                    \
        int result = real arguments;                                                               \
        if (last)                                                                                  \
            die();                                                                                 \
        return result;                                                                             \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
WRAP_OPEN(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode), fd)
WRAP_OPEN(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode), fd)

/* openat2(2), for which libc has no name: ctypes calls it by its number. */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

long syscall(long number, ...)
{
    REAL(syscall)
    long argument[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        argument[i] = va_arg(more, long);
    va_end(more);
    int last = 0;
    /* What it is told begins with the flags. */
    if (number == SYS_openat2 && CHANGES(*(const uint64_t *)argument[2]))
        last = count("openat2", (int)argument[0], (const char *)argument[1]);
    long result = real(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                       argument[5]);
    if (last)
        die();
    return result;
}

WRAP(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size), fd, NULL)
WRAP(ssize_t, writev, (int fd, const struct iovec *pieces, int n), (fd, pieces, n), fd, NULL)
WRAP(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), fd,
     NULL)
WRAP(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at), (fd, data, size, at),
     fd, NULL)
WRAP(ssize_t, pwritev64v2, (int fd, const struct iovec *pieces, int n, off64_t at, int flags),
     (fd, pieces, n, at, flags), fd, NULL)
WRAP(int, ftruncate, (int fd, off_t size), (fd, size), fd, NULL)
WRAP(int, ftruncate64, (int fd, off64_t size), (fd, size), fd, NULL)
WRAP(ssize_t, copy_file_range,
     (int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags),
     (from, at, fd, to, size, flags), fd, NULL)

WRAP(int, fsync, (int fd), (fd), fd, NULL)
WRAP(int, fdatasync, (int fd), (fd), fd, NULL)
WRAP(int, syncfs, (int fd), (fd), fd, NULL)

WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
WRAP(int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), fd, path)
WRAP(int, unlink, (const char *path), (path), AT_FDCWD, path)
WRAP(int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), fd, path)
WRAP(int, rmdir, (const char *path), (path), AT_FDCWD, path)
WRAP(int, rename, (const char *path, const char *to), (path, to), AT_FDCWD, path)
WRAP(int, renameat, (int fd, const char *path, int there, const char *to), (fd, path, there, to),
     fd, path)
WRAP(int, renameat2, (int fd, const char *path, int there, const char *to, unsigned flags),
     (fd, path, there, to, flags), fd, path)
WRAP(int, link, (const char *from, const char *path), (from, path), AT_FDCWD, path)
WRAP(int, linkat, (int there, const char *from, int fd, const char *path, int flags),
     (there, from, fd, path, flags), fd, path)
WRAP(int, symlink, (const char *to, const char *path), (to, path), AT_FDCWD, path)
WRAP(int, symlinkat, (const char *to, int fd, const char *path), (to, fd, path), fd, path)
