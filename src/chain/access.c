/* SPDX-License-Identifier: Apache-2.0
 *
 * Asking the kernel what a user may do. For another user a thread takes on that identity: the
 * identity for file access is a thread's own under Linux, and the thread ends with the answer.
 */
#include "access.h"

#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "real_path.h"
#include "str.h"

#define PASSWD_BYTES   16384
#define GROUPS_AT_MOST 65536

/* --- users ---------------------------------------------------------------------------------- */

static bool is_number(const char *text)
{
    return *text != '\0' && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

/* The entry of @name, or of @uid where that is NULL. NULL: there is none. */
static const struct passwd *find_entry(const char *name, uid_t uid, struct passwd *room, char *buf)
{
    struct passwd *found = NULL;
    if (name)
        (void)getpwnam_r(name, room, buf, PASSWD_BYTES, &found);
    else
        (void)getpwuid_r(uid, room, buf, PASSWD_BYTES, &found);
    return found;
}

static int find_groups(const char *name, struct access_user *user)
{
    int count = 16;
    for (;;) {
        gid_t *grown = reallocarray(user->groups, (size_t)count, sizeof(gid_t));
        if (!grown)
            return -ENOMEM;
        user->groups = grown;
        user->group_count = count;
        if (getgrouplist(name, user->gid, user->groups, &user->group_count) >= 0)
            return 0;
        if (count >= GROUPS_AT_MOST)
            return -EOVERFLOW;
        count = user->group_count > count ? user->group_count : count * 2;
    }
}

static int find_own_groups(struct access_user *user)
{
    const int count = getgroups(0, NULL);
    if (count < 0)
        return -errno;
    user->groups = calloc((size_t)count + 1, sizeof(gid_t));
    if (!user->groups)
        return -ENOMEM;
    user->group_count = getgroups(count, user->groups);
    return user->group_count < 0 ? -errno : 0;
}

int access_user_find(const char *name, struct access_user *out, struct qimg_error *err)
{
    struct passwd room;
    AUTO_FREE char *buf = malloc(PASSWD_BYTES);
    struct access_user user = { .uid = geteuid(), .gid = getegid() };
    if (!buf)
        return qimg_fail_memory(err);
    const bool number = name && is_number(name);
    if (number)
        user.uid = (uid_t)strtoul(name, NULL, 10);
    const struct passwd *entry = find_entry(number ? NULL : name, user.uid, &room, buf);
    if (name && !number && !entry)
        return qimg_fail(err, EINVAL, "There is no user '%s'", name);
    if (entry && name) {
        user.uid = entry->pw_uid;
        user.gid = entry->pw_gid;
    }
    user.other = user.uid != geteuid();
    if (user.other && geteuid() != 0)
        return qimg_fail(err, EPERM, "Only root can tell what user '%s' may read", name);
    user.name = entry ? strdup(entry->pw_name) : str_format("%u", user.uid);
    int rc = user.name ? 0 : -ENOMEM;
    if (rc == 0)
        rc = user.other && entry ? find_groups(entry->pw_name, &user) : find_own_groups(&user);
    if (rc == 0 && user.other && !entry)
        user.group_count = 0;
    if (rc < 0) {
        access_user_release(&user);
        return rc == -ENOMEM ? qimg_fail_memory(err)
                             : qimg_fail_errno(err, -rc, "Could not find the groups of a user");
    }
    *out = user;
    return 0;
}

void access_user_release(struct access_user *user)
{
    free(user->name);
    free(user->groups);
    *user = (struct access_user){ 0 };
}

/* --- questions -------------------------------------------------------------------------------- */

struct question {
    const struct access_user *user;
    const char *path;
    bool search; /* a directory, to be gone through; else a file, to be read */
    int answer;
};

/* By opening it: access() answers for another identity than the one that opens. */
static int try_it(const char *path, bool search)
{
    struct stat st;
    if (search) {
        AUTO_FREE char *inside = str_format("%s/.", path);
        if (!inside)
            return -ENOMEM;
        return stat(inside, &st) < 0 ? -errno : 0;
    }
    AUTO_FD const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return fd < 0 ? -errno : 0;
}

/* The calls of libc would change the identity of all threads. */
static void *ask_as_other(void *argument)
{
    struct question *q = argument;
    const struct access_user *user = q->user;
    if (syscall(SYS_setgroups, (size_t)user->group_count, user->groups) < 0) {
        q->answer = -errno;
        return NULL;
    }
    (void)setfsgid(user->gid);
    (void)setfsuid(user->uid);
    if (setfsuid((uid_t)-1) != (int)user->uid)
        q->answer = -EPERM;
    else
        q->answer = try_it(q->path, q->search);
    return NULL;
}

static int ask(const struct access_user *user, const char *path, bool search)
{
    struct question q = { .user = user, .path = path, .search = search };
    pthread_t thread;
    if (!user->other)
        return try_it(path, search);
    const int rc = pthread_create(&thread, NULL, ask_as_other, &q);
    if (rc != 0)
        return -rc;
    (void)pthread_join(thread, NULL);
    return q.answer;
}

int access_check(const struct access_user *user, const char *path)
{
    return ask(user, path, false);
}

/* --- the way ---------------------------------------------------------------------------------- */

static bool is_in_group(const struct access_user *user, gid_t group)
{
    if (user->gid == group)
        return true;
    for (int i = 0; i < user->group_count; i++)
        if (user->groups[i] == group)
            return true;
    return false;
}

/* @path is taken over. 1, or a negative errno. */
static int blocked_at(const struct access_user *user, char *path, bool directory,
                      struct access_block *out)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        const int rc = -errno;
        free(path);
        return rc;
    }
    *out = (struct access_block){ .path = path,
                                  .directory = directory,
                                  .mode = st.st_mode & 07777,
                                  .owner = st.st_uid,
                                  .group = st.st_gid };
    out->whose = 'o';
    if (st.st_uid == user->uid)
        out->whose = 'u';
    else if (is_in_group(user, st.st_gid))
        out->whose = 'g';
    return 1;
}

int access_find_block(const struct access_user *user, const char *path, struct access_block *out)
{
    /* Links are followed by who can: as seen from here, each directory is where it really is. */
    AUTO_FREE char *real = real_path(path);
    const char *way = real ? real : path;
    for (const char *slash = way; (slash = strchr(slash, '/')); slash++) {
        const size_t len = slash == way ? 1 : (size_t)(slash - way);
        char *directory = strndup(way, len);
        if (!directory)
            return -ENOMEM;
        if (ask(user, directory, true) == -EACCES)
            return blocked_at(user, directory, true, out);
        free(directory);
    }
    if (ask(user, way, false) != -EACCES)
        return 0;
    char *file = strdup(way);
    return file ? blocked_at(user, file, false, out) : -ENOMEM;
}
