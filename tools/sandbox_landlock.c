/* SPDX-License-Identifier: Apache-2.0
 *
 * The half of the sandbox that knows files. A ruleset names the rights that it takes away
 * ("handles"); each rule gives some back below one place. Where nothing is to be given back there
 * is no rule, and the whole costs three system calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox.h"

/* Newer than the oldest headers that we are built with. */
#ifndef LANDLOCK_ACCESS_FS_TRUNCATE
#define LANDLOCK_ACCESS_FS_TRUNCATE (1ULL << 14)
#endif
#define NET_BIND_TCP               (1ULL << 0)
#define NET_CONNECT_TCP            (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL               (1ULL << 1)
#define VERSION_WITH_REFER         2
#define VERSION_WITH_TRUNCATE      3
#define VERSION_WITH_NET           4
#define VERSION_WITH_SCOPE         6
#define SIZE_BEFORE_NET            8
#define SIZE_BEFORE_SCOPE          16

#define READING (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITING (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_TRUNCATE)
#define MAKING  (LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_REMOVE_FILE)
#define NAMES \
    (MAKING | LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_CHAR | \
     LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | LANDLOCK_ACCESS_FS_REFER)
#define ON_A_FILE (LANDLOCK_ACCESS_FS_READ_FILE | WRITING)

/* The kernel's struct landlock_ruleset_attr, with what later versions added. */
struct ruleset {
    uint64_t files, net, scope;
};

/* Moving a file to another directory (REFER) is taken away by every ruleset, asked or not: it is
 * handled always, so that a rule can give it back. */
static struct ruleset what_goes(const struct sandbox_plan *plan, int version)
{
    struct ruleset r = { .files = LANDLOCK_ACCESS_FS_REFER };

    if (!plan->programs)
        r.files |= LANDLOCK_ACCESS_FS_EXECUTE;
    if (plan->files != SANDBOX_ANYTHING)
        r.files |= NAMES;
    if (plan->files == SANDBOX_READS)
        r.files |= WRITING;
    if (plan->bounded)
        r.files |= READING;
    if (version < VERSION_WITH_REFER)
        r.files &= ~LANDLOCK_ACCESS_FS_REFER;
    if (version < VERSION_WITH_TRUNCATE)
        r.files &= ~LANDLOCK_ACCESS_FS_TRUNCATE;
    if (version >= VERSION_WITH_NET)
        r.net = NET_BIND_TCP | NET_CONNECT_TCP;
    if (version >= VERSION_WITH_SCOPE)
        r.scope = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
    return r;
}

static size_t size_known(int version)
{
    if (version < VERSION_WITH_NET)
        return SIZE_BEFORE_NET;
    return version < VERSION_WITH_SCOPE ? SIZE_BEFORE_SCOPE : sizeof(struct ruleset);
}

static uint64_t rights_of(enum sandbox_right right)
{
    static const uint64_t rights[] = {
        [SANDBOX_READ] = READING,
        [SANDBOX_WRITE] = READING | WRITING,
        [SANDBOX_MAKE] = READING | WRITING | MAKING,
    };
    return rights[right];
}

/* Gives @rights back below @path. What is not there, or cannot be looked at, gets none. */
static int give_back(int ruleset, const char *path, uint64_t rights)
{
    struct stat st;
    struct landlock_path_beneath_attr rule = { .allowed_access = rights };
    int rc = 0;

    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return 0;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access &= ON_A_FILE;
    if (rule.allowed_access &&
        syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
        rc = -errno;
    close(rule.parent_fd);
    return rc;
}

static int add_rules(int ruleset, const struct sandbox_plan *plan, uint64_t handled)
{
    int rc = 0;

    if (plan->files == SANDBOX_ANYTHING && (handled & LANDLOCK_ACCESS_FS_REFER))
        rc = give_back(ruleset, "/", LANDLOCK_ACCESS_FS_REFER);
    for (size_t i = 0; rc == 0 && i < plan->place_count; i++)
        rc = give_back(ruleset, plan->places[i].path, rights_of(plan->places[i].right) & handled);
    return rc;
}

int sandbox_landlock(const struct sandbox_plan *plan)
{
    if (plan->inspects && !plan->io_uring)
        return 0;
    const long version =
        syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 0)
        return -errno;
    if (version < VERSION_WITH_REFER && plan->files == SANDBOX_ANYTHING)
        return -ENOTSUP; /* files could not be moved at all */

    const struct ruleset goes = what_goes(plan, (int)version);
    const int ruleset =
        (int)syscall(SYS_landlock_create_ruleset, &goes, size_known((int)version), 0);
    if (ruleset < 0)
        return -errno;
    int rc = add_rules(ruleset, plan, goes.files);
    if (rc == 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
                    syscall(SYS_landlock_restrict_self, ruleset, 0) < 0))
        rc = -errno;
    close(ruleset);
    return rc < 0 ? rc : (int)version;
}
