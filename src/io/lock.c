/* SPDX-License-Identifier: Apache-2.0
 *
 * The byte locks by which QEMU processes share an image or keep out of each other's way. All are
 * shared OFD locks of one byte; a lock on 100+i says "I use permission i", one on 200+i "nobody
 * else may use permission i". Taking part means: (1) take one's own bytes first, so that of two
 * who come at once at least one sees the other; (2) then test the opposite bytes, uses before
 * denials, lowest bit first, because the first hit is the one that the message names; (3) on a
 * hit give back what was newly taken; (4) on success drop what is no longer wanted.
 */
#include <fcntl.h>

#include "posix.h"

#define BYTE_USES   100u
#define BYTE_DENIES 200u
#define PERMISSIONS 4u

static int lock_byte(int fd, unsigned byte, short type)
{
    struct flock lock = { .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    return fcntl(fd, F_OFD_SETLK, &lock) < 0 ? -errno : 0;
}

/* Does another opener hold @byte? */
static int test_byte(int fd, unsigned byte)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };

    if (fcntl(fd, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type == F_UNLCK ? 0 : -EAGAIN;
}

static int take_bytes(int fd, unsigned base, uint8_t bits, struct io_lock_conflict *conflict)
{
    for (unsigned i = 0; i < PERMISSIONS; i++) {
        if (!(bits & 1u << i))
            continue;
        const int rc = lock_byte(fd, base + i, F_RDLCK);
        if (rc == -EAGAIN || rc == -EACCES) {
            *conflict = (struct io_lock_conflict){ .permission = (enum io_permission)(1u << i),
                                                   .shared = base == BYTE_DENIES,
                                                   .byte = base + i,
                                                   .held = base + i };
            return -EAGAIN;
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Dropping cannot fail in a way that anybody could act on. */
static void drop_bytes(int fd, unsigned base, uint8_t bits)
{
    for (unsigned i = 0; i < PERMISSIONS; i++)
        if (bits & 1u << i)
            (void)lock_byte(fd, base + i, F_UNLCK);
}

static int test_bytes(int fd, unsigned base, uint8_t bits, struct io_lock_conflict *conflict)
{
    for (unsigned i = 0; i < PERMISSIONS; i++) {
        if (!(bits & 1u << i))
            continue;
        const int rc = test_byte(fd, base + i);
        if (rc == -EAGAIN)
            *conflict = (struct io_lock_conflict){ .permission = (enum io_permission)(1u << i),
                                                   .shared = base == BYTE_USES,
                                                   .held = base + i };
        TRY(rc);
    }
    return 0;
}

static bool has_no_locks(int rc)
{
    return rc == -EINVAL || rc == -ENOLCK || rc == -EOPNOTSUPP || rc == -ENOSYS;
}

/* Steps (1) and (2) for what @want adds to @held. */
static int acquire(int fd, struct io_lock held, struct io_lock want,
                   struct io_lock_conflict *conflict)
{
    TRY(take_bytes(fd, BYTE_USES, want.uses & (uint8_t)~held.uses, conflict));
    TRY(take_bytes(fd, BYTE_DENIES, want.denies & (uint8_t)~held.denies, conflict));
    TRY(test_bytes(fd, BYTE_DENIES, want.uses, conflict));
    TRY(test_bytes(fd, BYTE_USES, want.denies, conflict));
    return 0;
}

static void drop_beyond(int fd, struct io_lock has, struct io_lock keep)
{
    drop_bytes(fd, BYTE_USES, has.uses & (uint8_t)~keep.uses);
    drop_bytes(fd, BYTE_DENIES, has.denies & (uint8_t)~keep.denies);
}

static void note_no_locks(struct posix_file *file)
{
    struct posix_engine *engine = posix_engine(file->base.engine);

    if (!atomic_exchange(&engine->no_locks_noted, true))
        posix_note(engine,
                   "%s: no locks on this file system: other users of the image are not "
                   "seen",
                   file->name);
}

static int replace_locks(struct posix_file *file, int fd, struct io_lock want,
                         struct io_lock_conflict *conflict)
{
    const struct io_lock held = file->held;
    const bool only_drops = !(want.uses & ~held.uses) && !(want.denies & ~held.denies);
    int rc = only_drops ? 0 : acquire(fd, held, want, conflict);

    if (has_no_locks(rc)) {
        note_no_locks(file);
        rc = 0;
    }
    drop_beyond(fd, rc < 0 ? want : held, rc < 0 ? held : want); /* (3), (4) */
    if (rc == 0)
        file->held = want;
    return rc;
}

int posix_lock(struct io_file *base, struct io_lock want, struct io_lock_conflict *conflict)
{
    struct posix_file *file = posix_file(base);
    const int fd = posix_pin(file);

    if (fd < 0)
        return fd;
    pthread_mutex_lock(&file->lock_order);
    const int rc = replace_locks(file, fd, want, conflict);
    pthread_mutex_unlock(&file->lock_order);
    posix_unpin(file);
    return rc;
}

int posix_relock(struct posix_file *file, int fd)
{
    struct io_lock_conflict conflict;

    /* No other thread is in posix_lock(): it would hold a pin, and the file is parked. */
    const int rc = acquire(fd, (struct io_lock){ 0 }, file->held, &conflict);
    return has_no_locks(rc) ? 0 : rc;
}
