/* SPDX-License-Identifier: Apache-2.0
 *
 * Planning and making repairs of a chain's names. The plan goes down the chain as it will be: below
 * a file that was moved, it goes on with the candidate that was taken. (1) Nothing is written while
 * anything is undecided. (2) Steps are made from the deepest image up, so that an image is right
 * before one above it is changed. (3) What was made before a failure is undone.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base_limits.h"
#include "cleanup.h"
#include "fix.h"
#include "qimg/image.h"
#include "repoint.h"
#include "str.h"

/* One image of the chain as it will be. */
struct fix_level {
    char *path, *format; /* absolute */
    bool sealed;         /* its fingerprint holds, and shall afterwards */
    size_t step;         /* 1 + index of its step; 0 = none */
};

DEFINE_VEC(fix_level_vec, struct fix_level)

struct planner {
    struct qimg_context *context;
    struct qimg_survey *survey;
    const struct qimg_fix_options *options;
    struct qimg_fix_plan *plan;
    struct fix_level_vec *levels;
    struct file_id_vec ids;
    struct qimg_error *err;
};

/* --- releasing ------------------------------------------------------------------------------ */

static void release_step(struct qimg_fix_step *step)
{
    free(step->image);
    free(step->old_name);
    free(step->old_format);
    free(step->new_name);
    free(step->new_format);
    free(step->problem);
    for (size_t i = 0; i < step->candidate_count; i++) {
        free(step->candidates[i].path);
        free(step->candidates[i].evidence);
    }
    free(step->candidates);
    *step = (struct qimg_fix_step){ 0 };
}

void qimg_fix_plan_release(struct qimg_fix_plan *plan)
{
    struct fix_level_vec *levels = plan->own;
    for (size_t i = 0; i < plan->count; i++)
        release_step(&plan->steps[i]);
    free(plan->steps);
    for (size_t i = 0; levels && i < levels->count; i++) {
        free(levels->items[i].path);
        free(levels->items[i].format);
    }
    if (levels)
        fix_level_vec_release(levels);
    free(levels);
    *plan = (struct qimg_fix_plan){ 0 };
}

/* --- choices -------------------------------------------------------------------------------- */

static const char *choice(const struct qimg_fix_choice *list, size_t count, size_t index)
{
    for (size_t i = 0; i < count; i++)
        if (list[i].index == index)
            return list[i].value;
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    const size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static bool leads_on(const struct qimg_chain_image *image)
{
    return image->content_leads_on || (image->state == QIMG_CHAIN_READ &&
                                       (image->backing.recorded || image->data_file.recorded));
}

/* The format of a file for which none is recorded, if it is certain; else *problem is set. */
static const char *certain_format(const struct qimg_chain_image *image, size_t index,
                                  char **problem)
{
    const char *content = image->content;
    if (!content)
        return "raw";
    if (leads_on(image))
        *problem =
            str_format("its content looks like %s and names a further file: if that is to be "
                       "trusted, --set-format=%zu:%s",
                       content, index, content);
    else if (ends_with(image->name, ".raw") || ends_with(image->name, ".img"))
        *problem =
            str_format("its content looks like %s and its name like raw: --set-format=%zu:%s "
                       "or %zu:raw",
                       content, index, content, index);
    else
        return content;
    return NULL;
}

/* What shall be recorded as the format of @image. NULL with *problem, or no memory. */
static const char *decide_format(const struct planner *p, const struct qimg_chain_image *holder,
                                 const struct qimg_chain_image *image, size_t index, char **problem)
{
    const char *chosen = choice(p->options->formats, p->options->format_count, index);
    const char *recorded = holder->backing.recorded_format;
    if (chosen)
        return chosen;
    if (recorded && (image->state == QIMG_CHAIN_READ || image->state == QIMG_CHAIN_UNSUPPORTED))
        return recorded;
    if (recorded) {
        *problem = str_format("it is not readable as %s (%s): --set-format=%zu:FORMAT", recorded,
                              image->problem ? image->problem : "", index);
        return NULL;
    }
    if (p->options->set_formats)
        return certain_format(image, index, problem);
    *problem = str_format("its format is not recorded: --set-format");
    return NULL;
}

/* --- one reference -------------------------------------------------------------------------- */

static int copy_text(const char *text, char **out, struct qimg_error *err)
{
    *out = text ? strdup(text) : NULL;
    return text && !*out ? qimg_fail_memory(err) : 0;
}

static int begin_step(struct planner *p, size_t level, const struct qimg_chain_image *holder,
                      struct qimg_fix_step *step)
{
    *step = (struct qimg_fix_step){ .level = level };
    TRY(copy_text(holder->absolute, &step->image, p->err));
    TRY(copy_text(holder->backing.recorded, &step->old_name, p->err));
    return copy_text(holder->backing.recorded_format, &step->old_format, p->err);
}

/* Looks at @path as the image in place of the missing one. */
static int look_at(struct planner *p, const char *path, const char *format,
                   const struct qimg_chain_image **out)
{
    const struct qimg_chain_options how = { .format = format };
    struct qimg_chain chain;
    TRY(qimg_survey_chain(p->survey, path, &how, &chain, p->err));
    *out = chain.images[0];
    qimg_chain_release(&chain);
    return 0;
}

/* The file that the reference means: the one that is there, the user's pick, or a candidate. *out
 * NULL: undecided, step->problem says why. */
static int find_target(struct planner *p, const struct qimg_chain_image *holder,
                       struct qimg_fix_step *step, const struct qimg_chain_image **out)
{
    const struct qimg_chain_image *there = holder->backing.image;
    const char *pick = choice(p->options->picks, p->options->pick_count, step->level + 1);
    *out = NULL;
    if (pick)
        return look_at(p, pick, holder->backing.recorded_format, out);
    if (there && there->file.there) {
        *out = there;
        return 0;
    }
    if (!there || there->state != QIMG_CHAIN_MISSING) {
        step->problem = str_format("it cannot be followed: %s",
                                   there && there->problem ? there->problem : "not visited");
        return step->problem ? 0 : qimg_fail_memory(p->err);
    }
    const struct fix_search search = {
        .survey = p->survey, .holder = holder, .directories = p->options->relocate, .chain = &p->ids
    };
    TRY(fix_search_candidates(&search, step, p->err));
    const struct qimg_fix_candidate *taken = fix_take(step);
    if (taken)
        return look_at(p, taken->path, holder->backing.recorded_format, out);
    if (!p->options->relocate)
        step->problem =
            str_format("it is missing: --relocate=DIR or --pick=%zu=PATH", step->level + 1);
    else
        step->problem = str_format("it is missing, and %zu candidates were found: --pick=%zu=PATH",
                                   step->candidate_count, step->level + 1);
    return step->problem ? 0 : qimg_fail_memory(p->err);
}

/* The name to be recorded for @target. NULL: no memory. */
static char *decide_name(const struct planner *p, const struct qimg_chain_image *holder,
                         const struct qimg_chain_image *target)
{
    const enum qimg_fix_names names = p->options->names;
    const bool relative = names == QIMG_FIX_NAMES_RELATIVE ||
                          (names == QIMG_FIX_NAMES_KEEP && holder->backing.relative);
    const bool moved = target != holder->backing.image;
    const bool from_here = target->path && *target->path != '/'; /* a json: name's are */
    if (holder->backing.json && !moved &&
        (names == QIMG_FIX_NAMES_KEEP || target->has_window || !from_here))
        return strdup(holder->backing.recorded);
    if (!moved && !holder->backing.json &&
        (names == QIMG_FIX_NAMES_KEEP || relative == holder->backing.relative))
        return strdup(holder->backing.recorded);
    return repoint_name(holder->absolute, target->absolute, relative);
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int keep_step(struct planner *p, struct qimg_fix_step *step)
{
    struct qimg_fix_plan *plan = p->plan;
    struct qimg_fix_step *grown = reallocarray(plan->steps, plan->count + 1, sizeof(*grown));
    if (!grown)
        return qimg_fail_memory(p->err);
    plan->steps = grown;
    plan->steps[plan->count++] = *step;
    *step = (struct qimg_fix_step){ 0 };
    if (plan->steps[plan->count - 1].problem)
        plan->undecided++;
    else
        plan->changes++;
    p->levels->items[p->levels->count - 1].step = plan->count;
    return 0;
}

/* Plans the reference of @holder. *next: the image that it leads to, NULL where the plan ends. */
static int plan_step(struct planner *p, const struct qimg_chain_image *holder,
                     struct qimg_fix_step *step, const struct qimg_chain_image **next)
{
    TRY(begin_step(p, p->levels->count - 1, holder, step));
    TRY(find_target(p, holder, step, next));
    if (!*next)
        return keep_step(p, step);
    const struct qimg_chain_image *target = *next;
    const char *format = decide_format(p, holder, target, step->level + 1, &step->problem);
    if (!format) {
        *next = NULL;
        return step->problem ? keep_step(p, step) : qimg_fail_memory(p->err);
    }
    step->new_name = decide_name(p, holder, target);
    TRY(copy_text(format, &step->new_format, p->err));
    if (!step->new_name)
        return qimg_fail_memory(p->err);
    if (same_text(step->new_name, step->old_name) && same_text(step->new_format, step->old_format))
        return 0;
    TRY(keep_step(p, step));
    if (target->state == QIMG_CHAIN_READ && same_text(target->format, format))
        return 0;
    return look_at(p, target->absolute, format, next);
}

/* --- the chain -------------------------------------------------------------------------------- */

static int add_level(struct planner *p, const struct qimg_chain_image *image)
{
    struct fix_level level = { 0 };
    TRY(copy_text(image->absolute, &level.path, p->err));
    if (copy_text(image->format, &level.format, p->err) < 0 ||
        file_id_vec_push(&p->ids, (struct file_id){ image->file.device, image->file.inode }) < 0 ||
        fix_level_vec_push(p->levels, level) < 0) {
        free(level.path);
        free(level.format);
        return qimg_fail_memory(p->err);
    }
    return 0;
}

static bool in_chain(const struct planner *p, const struct qimg_chain_image *image)
{
    for (size_t i = 0; i < p->ids.count; i++)
        if (p->ids.items[i].inode == image->file.inode &&
            p->ids.items[i].device == image->file.device)
            return true;
    return false;
}

/* A data file that is not there is not for this plan to mend, and nothing above it can be read. */
static int plan_data_file(struct planner *p, const struct qimg_chain_image *image)
{
    const struct qimg_chain_reference *data = &image->data_file;
    if (!data->recorded || !data->image || data->image->file.there)
        return 0;
    struct qimg_fix_step step = { .level = p->levels->count - 1, .data_file = true };
    AUTO_FREE char *operand = gate_shell_quoted(image->absolute);
    step.problem =
        operand
            ? str_format("it is missing: bring it back, or name it (a comma in a name doubled): "
                         "qimg amend --image-opts -o data_file=FILE driver=qcow2,"
                         "file.filename=%s,data-file.driver=file,data-file.filename=FILE",
                         operand)
            : NULL;
    int rc =
        step.problem ? copy_text(image->absolute, &step.image, p->err) : qimg_fail_memory(p->err);
    if (rc == 0)
        rc = copy_text(data->recorded, &step.old_name, p->err);
    if (rc == 0)
        rc = keep_step(p, &step);
    release_step(&step);
    return rc;
}

static bool took_proven(const struct qimg_fix_step *step)
{
    for (size_t i = 0; i < step->candidate_count; i++)
        if (step->candidates[i].taken && step->candidates[i].proven)
            return true;
    return false;
}

/* Only the user knows what the last image of a loop should name. */
static int plan_loop(struct planner *p, const struct qimg_chain_image *holder)
{
    struct qimg_fix_step step;
    AUTO_FREE char *operand = gate_shell_quoted(holder->absolute);
    int rc = begin_step(p, p->levels->count - 1, holder, &step);
    if (rc == 0 && operand)
        step.problem =
            str_format("it leads back into its own chain: --pick=%zu=PATH; or, if nothing "
                       "belongs below the image: qimg rebase -u -b '' %s",
                       p->levels->count, operand);
    if (rc == 0)
        rc = step.problem ? keep_step(p, &step) : qimg_fail_memory(p->err);
    release_step(&step);
    return rc;
}

static int plan_chain(struct planner *p, const struct qimg_chain_image *image)
{
    while (image) {
        struct qimg_fix_step step = { 0 };
        const struct qimg_chain_image *next = NULL;
        TRY(add_level(p, image));
        TRY(plan_data_file(p, image));
        if (image->state != QIMG_CHAIN_READ || !image->backing.recorded || image->backing.by_user ||
            p->levels->count >= LIMIT_CHAIN_DEPTH)
            return 0;
        struct fix_level *level = &p->levels->items[p->levels->count - 1];
        level->sealed =
            surveyed_of(image)->sealed && repoint_is_sealed(p->context, level->path, level->format);
        const int rc = plan_step(p, image, &step, &next);
        release_step(&step);
        TRY(rc);
        level->sealed |= level->step && took_proven(&p->plan->steps[level->step - 1]);
        const bool loops = next && in_chain(p, next);
        if (loops)
            TRY(plan_loop(p, image));
        image = loops ? NULL : next;
    }
    return 0;
}

static int check_choices(const struct qimg_fix_options *options, struct qimg_error *err)
{
    for (size_t i = 0; i < options->format_count; i++)
        if (!qimg_format_known(options->formats[i].value))
            return qimg_fail(err, EINVAL, "Invalid format name: '%s'", options->formats[i].value);
    for (size_t i = 0; i < options->pick_count; i++) {
        struct qimg_chain_file file;
        const int rc = survey_stat(options->picks[i].value, &file);
        if (rc < 0)
            return qimg_fail_errno(err, -rc, "Could not open '%s'", options->picks[i].value);
    }
    return 0;
}

/* A choice for an image that is not in the chain is the user's mistake. */
static int check_indexes(const struct planner *p)
{
    const struct qimg_fix_options *o = p->options;
    const size_t most = p->levels->count; /* the last image's own reference may be undecided */
    for (size_t i = 0; i < o->format_count; i++)
        if (o->formats[i].index == 0 || o->formats[i].index > most)
            return qimg_fail(p->err, EINVAL, "the chain has no image %zu that something names",
                             o->formats[i].index);
    for (size_t i = 0; i < o->pick_count; i++)
        if (o->picks[i].index == 0 || o->picks[i].index > most)
            return qimg_fail(p->err, EINVAL, "the chain has no image %zu that something names",
                             o->picks[i].index);
    return 0;
}

static int plan_from(struct planner *p, const char *name)
{
    const struct qimg_chain_options how = { .format = p->options->format };
    struct qimg_chain chain;
    TRY(qimg_survey_chain(p->survey, name, &how, &chain, p->err));
    const struct qimg_chain_image *top = chain.images[0];
    qimg_chain_release(&chain);
    if (top->state != QIMG_CHAIN_READ)
        return qimg_fail(p->err, top->problem_code ? top->problem_code : EBADMSG,
                         "Could not open '%s': %s", name, top->problem ? top->problem : "");
    TRY(plan_chain(p, top));
    return check_indexes(p);
}

int qimg_fix_plan(struct qimg_context *context, const char *name,
                  const struct qimg_fix_options *options, struct qimg_fix_plan *out,
                  struct qimg_error *err)
{
    struct qimg_fix_plan plan = { 0 };
    struct planner p = { .context = context, .options = options, .plan = &plan, .err = err };
    TRY(check_choices(options, err));
    TRY(qimg_survey_new(context, &p.survey, err));
    p.levels = plan.own = calloc(1, sizeof(*p.levels));
    const int rc = p.levels ? plan_from(&p, name) : qimg_fail_memory(err);
    qimg_survey_free(p.survey);
    file_id_vec_release(&p.ids);
    if (rc < 0) {
        qimg_fix_plan_release(&plan);
        return rc;
    }
    *out = plan;
    return 0;
}

/* --- making it ------------------------------------------------------------------------------ */

static struct repoint repoint_of(const struct fix_level *level, const struct qimg_fix_step *step)
{
    return (struct repoint){
        .path = level->path,
        .format = level->format,
        .old_name = step->old_name,
        .old_format = step->old_format,
        .new_name = step->new_name,
        .new_format = step->new_format,
    };
}

static void undo(struct qimg_context *context, const struct qimg_fix_plan *plan, size_t from,
                 struct qimg_error *err)
{
    const struct fix_level_vec *levels = plan->own;
    for (size_t i = from; i < levels->count; i++) {
        const struct fix_level *level = &levels->items[i];
        struct qimg_error why;
        if (!level->step)
            continue;
        const struct repoint r = repoint_of(level, &plan->steps[level->step - 1]);
        if (repoint_undo(context, &r, &why) < 0)
            (void)qimg_hint(err, "'%s' stays changed: %s", level->path, why.text);
    }
}

int qimg_fix_apply(struct qimg_context *context, const struct qimg_fix_plan *plan,
                   struct qimg_error *err)
{
    const struct fix_level_vec *levels = plan->own;
    bool below_changed = false;
    if (plan->undecided)
        return qimg_fail(err, EINVAL, "%zu images are undecided", plan->undecided);
    for (size_t i = levels->count; i-- > 0;) {
        const struct fix_level *level = &levels->items[i];
        int rc = 0;
        if (level->step) {
            const struct repoint r = repoint_of(level, &plan->steps[level->step - 1]);
            rc = repoint_do(context, &r, err);
        }
        if (rc == 0 && level->sealed && below_changed)
            rc = repoint_renew_seal(context, level->path, level->format, err);
        if (rc < 0) {
            undo(context, plan, i + 1, err);
            return rc;
        }
        below_changed = level->step || (level->sealed && below_changed);
    }
    return 0;
}
