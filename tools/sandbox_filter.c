/* SPDX-License-Identifier: Apache-2.0
 *
 * The half of the sandbox that knows system calls: a list of those that the program, its C
 * library and its threads make; all others fail with EPERM. Those that came after number 423
 * fail with ENOSYS instead: a C library that tries them has another way for older kernels (so
 * does clone3, whose flags a filter cannot see). The list becomes a binary search over runs of
 * numbers: a system call costs a few comparisons, and the kernel, which tries out every number when
 * the filter is set up, is done in a fraction of the time that a list would take.
 */
#include <asm/termbits.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* the leak checker stops the program by ptrace */
#endif

#if defined(__x86_64__)
#define OUR_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OUR_ARCH AUDIT_ARCH_AARCH64
#elif defined(__riscv) && __riscv_xlen == 64
#define OUR_ARCH AUDIT_ARCH_RISCV64
#endif

#if defined(OUR_ARCH) && !defined(SANITIZED)

#define NUMBERS     512 /* system calls looked at; higher numbers are answered with ENOSYS */
#define FIRST_NEWER 424 /* from here on numbers are the same on all processors */

static const uint16_t allowed_calls[] = {
    /* memory, threads, time, signals to oneself */
    SYS_brk,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_exit,
    SYS_exit_group,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_gettid,
    SYS_getpid,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_restart_syscall,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_wait4,
    SYS_getrandom,
    SYS_prctl,
    /* about oneself */
    SYS_getrlimit,
    SYS_getrusage,
    SYS_sysinfo,
    SYS_uname,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getgroups,
    SYS_umask,
    SYS_getcwd,
    /* files; neither modes and owners nor times and attributes, which Landlock does not guard */
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_preadv,
    SYS_pwritev,
    SYS_preadv2,
    SYS_pwritev2,
    SYS_close,
    SYS_close_range,
    SYS_lseek,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_flock,
    SYS_fsync,
    SYS_fdatasync,
    SYS_syncfs,
    SYS_mincore,
    SYS_sync_file_range,
    SYS_fadvise64,
    SYS_dup,
    SYS_dup3,
    SYS_pipe2,
    SYS_ppoll,
    SYS_pselect6,
    SYS_chdir,
    SYS_fchdir,
#ifdef SYS_open /* the older spellings, which newer processors do without */
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_getdents,
    SYS_dup2,
    SYS_pipe,
    SYS_poll,
    SYS_select,
    SYS_time,
    SYS_pause,
    SYS_arch_prctl,
#endif
};

/* Opening, where files may be written; what changes them and their names. */
static const uint16_t writing_calls[] = {
    SYS_openat,    SYS_openat2, SYS_ftruncate, SYS_fallocate, SYS_copy_file_range, SYS_unlinkat,
    SYS_renameat2, SYS_linkat,  SYS_mkdirat,
#ifdef SYS_renameat
    SYS_renameat,
#endif
#ifdef SYS_open
    SYS_open,      SYS_unlink,  SYS_rename,    SYS_link,      SYS_mkdir,           SYS_rmdir,
#endif
};

static const uint16_t inspecting_calls[] = { SYS_setgroups, SYS_setfsuid, SYS_setfsgid };

static const uint16_t ring_calls[] = { SYS_io_uring_setup, SYS_io_uring_enter,
                                       SYS_io_uring_register, SYS_eventfd2 };

static const uint16_t program_calls[] = {
    SYS_execve, SYS_execveat, SYS_clone, SYS_waitid, SYS_tgkill, SYS_prlimit64, SYS_fcntl,
#ifdef SYS_vfork
    SYS_vfork,
#endif
};

/* Not those by which a file sends signals to other processes. */
static const uint32_t fcntls[] = { F_DUPFD,  F_DUPFD_CLOEXEC, F_GETFD,     F_SETFD,
                                   F_GETFL,  F_SETFL,         F_GETLK,     F_SETLK,
                                   F_SETLKW, F_OFD_GETLK,     F_OFD_SETLK, F_OFD_SETLKW };

/* Is it a terminal, how wide; devices. Not typing into the terminal, which would run commands after
 * us, nor attributes of files. */
static const uint32_t ioctls[] = { TCGETS,   TCGETS2,   TIOCGWINSZ, BLKGETSIZE64,
                                   BLKROGET, BLKSSZGET, BLKZEROOUT };

/* Of a little-endian machine: the low half of an argument. */
#define LOW_OF_ARGUMENT(n) ((uint32_t)offsetof(struct seccomp_data, args) + 8 * (n))

enum answers { ANSWER_ALLOW, ANSWER_DENY, ANSWER_ABSENT };

static const uint32_t answers[] = {
    [ANSWER_ALLOW] = SECCOMP_RET_ALLOW,
    [ANSWER_DENY] = SECCOMP_RET_ERRNO | EPERM,
    [ANSWER_ABSENT] = SECCOMP_RET_ERRNO | ENOSYS,
};

/* From @from on, up to the next edge, system calls get this answer. */
struct edge {
    uint32_t from;
    enum answers answer;
};

struct program {
    struct sock_filter code[NUMBERS + 32];
    uint16_t length, returns; /* where the answers will stand, in their order */
    struct edge edges[NUMBERS];
    size_t edge_count;
};

static void emit(struct program *p, struct sock_filter instruction)
{
    assert(p->length < sizeof(p->code) / sizeof(p->code[0]));
    p->code[p->length++] = instruction;
}

static void answer(struct program *p, enum answers which)
{
    emit(p, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, answers[which]));
}

static void load(struct program *p, size_t offset)
{
    emit(p, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset));
}

/* How many instructions the one at @from has to pass over. */
static uint8_t distance(uint16_t from, uint16_t to)
{
    assert(to > from && to - from - 1 <= UINT8_MAX);
    return (uint8_t)(to - from - 1);
}

/* The number of the call is loaded: finds its answer among the edges @first to @last, of which
 * there are several, by halving them. */
static void search(struct program *p, size_t first, size_t last)
{
    const size_t middle = first + (last - first + 1) / 2;
    const uint16_t here = p->length;
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, p->edges[middle].from, 0, 0));
    if (middle - first > 1)
        search(p, first, middle - 1);
    else
        p->code[here].jf = distance(here, p->returns + (uint16_t)p->edges[first].answer);
    if (middle < last) {
        p->code[here].jt = distance(here, p->length);
        search(p, middle, last);
    } else {
        p->code[here].jt = distance(here, p->returns + (uint16_t)p->edges[last].answer);
    }
}

static void allow(bool *allowed, const uint16_t *calls, size_t count)
{
    for (size_t i = 0; i < count; i++)
        allowed[calls[i]] = true;
}

#define ALLOW(allowed, list) allow(allowed, list, sizeof(list) / sizeof((list)[0]))

static void find_edges(struct program *p, const struct sandbox_plan *plan)
{
    bool allowed[NUMBERS] = { false };

    ALLOW(allowed, allowed_calls);
    if (plan->io_uring)
        ALLOW(allowed, ring_calls);
    if (plan->programs)
        ALLOW(allowed, program_calls);
    if (plan->inspects)
        ALLOW(allowed, inspecting_calls);
    if (!sandbox_reads_only(plan))
        ALLOW(allowed, writing_calls);
    for (uint32_t nr = 0; nr <= NUMBERS; nr++) {
        const bool is_allowed = nr < NUMBERS && allowed[nr];
        const enum answers value = is_allowed         ? ANSWER_ALLOW
                                   : nr < FIRST_NEWER ? ANSWER_DENY
                                                      : ANSWER_ABSENT;
        if (nr == 0 || p->edges[p->edge_count - 1].answer != value)
            p->edges[p->edge_count++] = (struct edge){ nr, value };
    }
}

/* A call that is fine but for some of its arguments: in front of the search, so that it is decided
 * here. */
static void allow_threads(struct program *p)
{
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4));
    load(p, LOW_OF_ARGUMENT(0));
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 0, 1));
    answer(p, ANSWER_ALLOW);
    answer(p, ANSWER_DENY);
}

/* Where nothing is written. openat2(), whose flags the filter cannot see, looks absent then; what
 * uses it has another way. */
static void allow_reading(struct program *p, uint32_t call, unsigned flags_argument)
{
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4));
    load(p, LOW_OF_ARGUMENT(flags_argument));
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_ACCMODE | O_CREAT | O_TRUNC,
                                         1, 0));
    answer(p, ANSWER_ALLOW);
    answer(p, ANSWER_DENY);
}

/* Fine where the argument is one of @values. */
static void allow_values(struct program *p, uint32_t call, unsigned argument,
                         const uint32_t *values, size_t count)
{
    const uint8_t left = (uint8_t)count;
    emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, left + 3));
    load(p, LOW_OF_ARGUMENT(argument));
    for (uint8_t i = 0; i < left; i++)
        emit(p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, values[i], left - i, 0));
    answer(p, ANSWER_DENY);
    answer(p, ANSWER_ALLOW);
}

#define ALLOW_VALUES(p, call, argument, list) \
    allow_values(p, call, argument, list, sizeof(list) / sizeof((list)[0]))

/* What is done to oneself, and could be done to other processes. */
static void allow_on_oneself(struct program *p)
{
    const uint32_t signals[] = { (uint32_t)getpid() }; /* raise(), abort() */
    const uint32_t limits[] = { 0 };

    ALLOW_VALUES(p, SYS_tgkill, 0, signals);
    ALLOW_VALUES(p, SYS_prlimit64, 0, limits);
    ALLOW_VALUES(p, SYS_fcntl, 1, fcntls);
}

int sandbox_filter(const struct sandbox_plan *plan)
{
    struct program p;
    p.length = 0;
    p.edge_count = 0;

    load(&p, offsetof(struct seccomp_data, arch));
    emit(&p, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OUR_ARCH, 1, 0));
    answer(&p, ANSWER_DENY);
    load(&p, offsetof(struct seccomp_data, nr));
    if (!plan->programs) {
        allow_threads(&p);
        allow_on_oneself(&p);
    }
    ALLOW_VALUES(&p, SYS_ioctl, 1, ioctls);
    if (sandbox_reads_only(plan)) {
        allow_reading(&p, SYS_openat, 2);
#ifdef SYS_open
        allow_reading(&p, SYS_open, 1);
#endif
    }
    find_edges(&p, plan);
    p.returns = (uint16_t)(p.length + p.edge_count - 1); /* a comparison for each edge but one */
    search(&p, 0, p.edge_count - 1);
    for (enum answers a = ANSWER_ALLOW; a <= ANSWER_ABSENT; a++)
        answer(&p, a);

    const struct sock_fprog program = { p.length, p.code };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return -errno;
    return 0;
}

#else

int sandbox_filter(const struct sandbox_plan *plan)
{
    (void)plan;
    return -ENOTSUP;
}

#endif
