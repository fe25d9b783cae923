/* Lets a user-mode Linux run on a processor whose registers are larger than it knows.
 *
 * It saves the registers of each of its processes with PTRACE_GETREGSET and restores them with
 * PTRACE_SETREGSET, in a buffer with room for those up to AVX.  The host's kernel takes nothing but
 * the whole state, with AVX-512 and AMX, and fails with EFAULT.  So the whole is kept here for each
 * buffer, and is written with what the buffer has over its beginning.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Where an XSAVE area says which parts it has, and where those begin that are not in the first. */
#define HEADER 512
#define EXTENDED 576

/* The x87, SSE and AVX parts, which the machine knows. */
#define KNOWN 7UL

/* More than a machine has processes, and than a processor has state. */
#define PROCESSES 1024
#define SIZE 16384

static struct {
    void *buffer;
    size_t size;
    unsigned char state[SIZE];
} kept[PROCESSES];

static long regset(long request, pid_t pid, struct iovec *own)
{
    void *buffer = own->iov_base;
    size_t at = ((unsigned long)buffer >> 6) % PROCESSES;
    for (size_t tries = 0; kept[at].buffer && kept[at].buffer != buffer; at = (at + 1) % PROCESSES)
        if (++tries == PROCESSES)
            _exit(99);
    struct iovec all = {kept[at].state, SIZE};
    if (request == PTRACE_GETREGSET || !kept[at].buffer) {
        if (syscall(SYS_ptrace, PTRACE_GETREGSET, pid, NT_X86_XSTATE, &all))
            return -1;
        kept[at].buffer = buffer;
        kept[at].size = all.iov_len;
    }
    all.iov_len = kept[at].size;
    if (own->iov_len > all.iov_len)
        own->iov_len = all.iov_len;
    if (request == PTRACE_GETREGSET) {
        memcpy(buffer, all.iov_base, own->iov_len);
        return 0;
    }
    unsigned long has, had;
    memcpy(&had, kept[at].state + HEADER, sizeof had);
    memcpy(kept[at].state, buffer, own->iov_len);
    memcpy(&has, kept[at].state + HEADER, sizeof has);
    has = (has & KNOWN) | (had & ~KNOWN);
    memcpy(kept[at].state + HEADER, &has, sizeof has);
    return syscall(SYS_ptrace, request, pid, NT_X86_XSTATE, &all);
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list more;
    va_start(more, request);
    pid_t pid = va_arg(more, pid_t);
    void *addr = va_arg(more, void *);
    void *data = va_arg(more, void *);
    va_end(more);
    if ((request == PTRACE_GETREGSET || request == PTRACE_SETREGSET)
        && (unsigned long)addr == NT_X86_XSTATE && ((struct iovec *)data)->iov_len >= EXTENDED)
        return regset(request, pid, data);
    /* As in libc, what is peeked at is the result. */
    if (request == PTRACE_PEEKTEXT || request == PTRACE_PEEKDATA || request == PTRACE_PEEKUSER) {
        long peeked;
        long failed = syscall(SYS_ptrace, request, pid, addr, &peeked);
        return failed ? failed : peeked;
    }
    return syscall(SYS_ptrace, request, pid, addr, data);
}
