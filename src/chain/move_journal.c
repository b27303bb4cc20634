/* SPDX-License-Identifier: Apache-2.0
 *
 * The journal of a move: a text of lines, each a word and fields between spaces, in which all bytes
 * but letters, digits and "/._-" are %XX:
 *
 *     qimg-chain-mv 1
 *     rename FROM TO DEVICE INODE file|directory
 *     change FROM TO FORMAT OLD-NAME OLD-FORMAT NEW-NAME NEW-FORMAT renew|keep
 *     end DIGEST                           SHA-256 of all before this line
 *
 * An empty field is "-" for no text at all. Without its last line a journal says nothing: nothing
 * was done before it was whole. What it says is done with the rights of whoever goes on: it is
 * believed only if nobody else can have written it. The directory is locked while it is worked by.
 */
#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "digest.h"
#include "move.h"
#include "str.h"

#define FIRST_LINE   "qimg-chain-mv 1\n"
#define JOURNAL_NAME ".qimg-chain-mv.journal"
#define JOURNAL_MAX  (256 << 20)

char *move_journal_name(const char *directory)
{
    return str_format("%s/" JOURNAL_NAME, directory);
}

int move_lock(const char *journal, int *lock, struct qimg_error *err)
{
    const char *slash = strrchr(journal, '/');
    AUTO_FREE char *directory = strndup(journal, slash == journal ? 1 : (size_t)(slash - journal));
    if (!directory)
        return qimg_fail_memory(err);
    *lock = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*lock < 0)
        return qimg_fail_errno(err, errno, "Could not open '%s'", directory);
    if (flock(*lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return 0; /* where a directory has no locks, the journal's own name must do */
    (void)close(*lock);
    *lock = -1;
    return qimg_fail(err, EBUSY, "another move to '%s' is under way", directory);
}

/* --- writing -------------------------------------------------------------------------------- */

static void put_field(struct str *to, const char *text)
{
    str_puts(to, " ");
    if (!text) {
        str_puts(to, "-");
        return;
    }
    str_puts(to, "=");
    for (const char *p = text; *p; p++) {
        const unsigned char c = (unsigned char)*p;
        if (c < 0x80 && (isalnum(c) || strchr("/._-", c)))
            str_append(to, p, 1);
        else
            str_printf(to, "%%%02X", c);
    }
}

static void put_digest(struct str *to)
{
    uint8_t digest[DIGEST_BYTES];
    digest_of(to->text, to->len, digest);
    str_puts(to, "end ");
    for (size_t i = 0; i < sizeof(digest); i++)
        str_printf(to, "%02x", digest[i]);
    str_puts(to, "\n");
}

static char *encode(const struct move *move)
{
    struct str text = { 0 };
    str_puts(&text, FIRST_LINE);
    for (size_t i = 0; i < move->renames.count; i++) {
        const struct move_rename *r = &move->renames.items[i];
        str_puts(&text, "rename");
        put_field(&text, r->from);
        put_field(&text, r->to);
        str_printf(&text, " %" PRIu64 " %" PRIu64 " %s\n", r->device, r->inode,
                   r->directory ? "directory" : "file");
    }
    for (size_t i = 0; i < move->changes.count; i++) {
        const struct move_change *c = &move->changes.items[i];
        str_puts(&text, "change");
        put_field(&text, c->from);
        put_field(&text, c->to);
        put_field(&text, c->repoint.format);
        put_field(&text, c->repoint.old_name);
        put_field(&text, c->repoint.old_format);
        put_field(&text, c->repoint.new_name);
        put_field(&text, c->repoint.new_format);
        str_printf(&text, " %s\n", c->renew ? "renew" : "keep");
    }
    if (!text.failed)
        put_digest(&text);
    return str_take(&text);
}

static int write_text(struct qimg_context *context, const char *name, const char *text)
{
    AUTO_FD int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    size_t left = strlen(text);
    if (fd < 0)
        return -errno;
    while (left > 0) {
        const ssize_t n = write(fd, text, left);
        if (n < 0 && errno != EINTR)
            return -errno;
        text += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    if (fsync(fd) < 0)
        return -errno;
    return io_sync_directory(context->engine, name);
}

int move_journal_write(struct qimg_context *context, const struct move *move,
                       struct qimg_error *err)
{
    AUTO_FREE char *text = encode(move);
    if (!text)
        return qimg_fail_memory(err);
    const int rc = write_text(context, move->journal, text);
    if (rc < 0 && rc != -EEXIST)
        (void)unlink(move->journal);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not write the journal '%s'", move->journal)
                  : 0;
}

int move_journal_remove(struct qimg_context *context, const char *name, struct qimg_error *err)
{
    int rc = unlink(name) < 0 ? -errno : 0;
    if (rc == 0 || rc == -ENOENT)
        rc = io_sync_directory(context->engine, name);
    return rc < 0 ? qimg_fail_errno(err, -rc, "Could not remove the journal '%s'", name) : 0;
}

/* --- reading -------------------------------------------------------------------------------- */

static int read_text(const char *name, char **out, size_t *len)
{
    AUTO_FD int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    size_t got = 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size > JOURNAL_MAX)
        return -EBADMSG;
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)))
        return -EPERM;
    AUTO_FREE char *text = malloc((size_t)st.st_size + 1);
    if (!text)
        return -ENOMEM;
    while (got < (size_t)st.st_size) {
        const ssize_t n = read(fd, text + got, (size_t)st.st_size - got);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n == 0)
            break;
        got += n > 0 ? (size_t)n : 0;
    }
    text[got] = '\0';
    *len = got;
    *out = TAKE(text);
    return 0;
}

/* Is the text whole: does its last line have the digest of the rest? */
static bool is_whole(const char *text, size_t len)
{
    const size_t last = 4 + 2 * DIGEST_BYTES + 1;
    struct str again = { 0 };
    if (len < strlen(FIRST_LINE) + last || strncmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0)
        return false;
    str_append(&again, text, len - last);
    if (!again.failed)
        put_digest(&again);
    const bool same = !again.failed && again.len == len && memcmp(again.text, text, len) == 0;
    str_release(&again);
    return same;
}

/* The next field of a line, decoded; NULL for "-" and at the end (*failed is set then, and where
 * there is no memory). */
static char *get_field(char **line, bool *failed)
{
    char *field = strsep(line, " ");
    if (field && strcmp(field, "-") == 0)
        return NULL;
    if (!field || *field != '=') {
        *failed = true;
        return NULL;
    }
    struct str text = { 0 };
    for (const char *p = field + 1; *p; p++) {
        unsigned byte = (unsigned char)*p;
        if (byte == '%') {
            if (!isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]) ||
                sscanf(p + 1, "%2X", &byte) != 1) {
                *failed = true;
                break;
            }
            p += 2;
        }
        str_append(&text, &(char){ (char)byte }, 1);
    }
    char *taken = str_take(&text);
    *failed |= !taken;
    return taken;
}

static uint64_t get_number(char **line, bool *failed)
{
    const char *field = strsep(line, " ");
    *failed |= !field;
    return field ? strtoull(field, NULL, 10) : 0;
}

static bool get_word(char **line, const char *word)
{
    const char *field = strsep(line, " ");
    return field && strcmp(field, word) == 0;
}

static int decode_line(char *line, struct move *out)
{
    bool failed = false;
    char *rest = line;
    const char *word = strsep(&rest, " ");
    if (strcmp(word, "rename") == 0) {
        struct move_rename r = { .from = get_field(&rest, &failed) };
        r.to = get_field(&rest, &failed);
        r.device = get_number(&rest, &failed);
        r.inode = get_number(&rest, &failed);
        r.directory = get_word(&rest, "directory");
        failed |= !r.from || !r.to;
        return move_rename_vec_push(&out->renames, r) < 0 || failed ? -EBADMSG : 0;
    }
    if (strcmp(word, "change") == 0) {
        struct move_change c = { .from = get_field(&rest, &failed) };
        c.to = get_field(&rest, &failed);
        c.repoint.format = get_field(&rest, &failed);
        c.repoint.old_name = get_field(&rest, &failed);
        c.repoint.old_format = get_field(&rest, &failed);
        c.repoint.new_name = get_field(&rest, &failed);
        c.repoint.new_format = get_field(&rest, &failed);
        c.renew = get_word(&rest, "renew");
        failed |=
            !c.from || !c.to || !c.repoint.format || !c.repoint.old_name || !c.repoint.new_name;
        return move_change_vec_push(&out->changes, c) < 0 || failed ? -EBADMSG : 0;
    }
    return strcmp(word, "end") == 0 ? 0 : -EBADMSG;
}

int move_journal_read(const char *name, struct move *out, struct qimg_error *err)
{
    AUTO_FREE char *text = NULL;
    size_t len = 0;
    *out = (struct move){ 0 };
    int rc = read_text(name, &text, &len);
    if (rc == -ENOENT)
        return 0;
    if (rc == -EPERM)
        return qimg_fail(err, EPERM,
                         "the journal '%s' can be written by other users: it is for its owner to "
                         "go on, or to remove it",
                         name);
    if (rc < 0)
        return qimg_fail_errno(err, -rc, "Could not read the journal '%s'", name);
    if (!is_whole(text, len))
        return 0;
    char *rest = text + strlen(FIRST_LINE), *line;
    out->journal = strdup(name);
    while (rc == 0 && (line = strsep(&rest, "\n")) && *line)
        rc = decode_line(line, out);
    if (rc == 0 && out->journal)
        return 1;
    move_release(out);
    return qimg_fail(err, EBADMSG, "the journal '%s' cannot be understood", name);
}
