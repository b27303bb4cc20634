# SPDX-License-Identifier: Apache-2.0
# Crash states, faults at every operation, failing allocations: programs over the simulator.
set(crash_shared disk tape view judge states scene scenes_write scenes_bitmap scenes_verb
    scenes_head play)
list(TRANSFORM crash_shared PREPEND crash/)
list(TRANSFORM crash_shared APPEND .c)

function(qimg_crash_program name)
    qimg_test_program(${name} crash/${name}.c ${crash_shared})
endfunction()

function(qimg_crash_test name program)
    add_test(NAME ${name} COMMAND ${program} ${ARGN})
    set_tests_properties(${name} PROPERTIES LABELS crash TIMEOUT 600
                         FAIL_REGULAR_EXPRESSION "${sanitizer_reports}")
endfunction()

qimg_crash_program(crash_states)
foreach(share 0 1 2 3)
    qimg_crash_test(crash_states_${share} crash_states ${share} 4)
endforeach()

# Each barrier is left out in turn, and must be missed.
qimg_crash_program(crash_barriers)
target_link_options(crash_barriers PRIVATE -Wl,--wrap=io_sync)
target_compile_definitions(crash_barriers PRIVATE QIMG_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
qimg_crash_test(crash_barriers crash_barriers)

qimg_crash_program(crash_faults)
foreach(share 0 1)
    qimg_crash_test(crash_faults_${share} crash_faults ${share} 2)
endforeach()

# Jobs over several images.
foreach(job commit pull)
    qimg_test_program(crash_${job} crash/crash_${job}.c crash/break_off.c crash/job_rig.c
        ${crash_shared})
    qimg_crash_test(crash_${job} crash_${job})
endforeach()

# Random operations against a model.
set(crash_world operation truth look world world_make world_guest world_verbs)
list(TRANSFORM crash_world PREPEND crash/)
list(TRANSFORM crash_world APPEND .c)
foreach(way walk triples)
    qimg_test_program(crash_${way} crash/crash_${way}.c crash/job_rig.c ${crash_world}
        ${crash_shared})
endforeach()
qimg_crash_test(crash_walk crash_walk ${CMAKE_CURRENT_SOURCE_DIR}/crash/sequences.txt)
qimg_crash_test(crash_triples crash_triples)
set_tests_properties(crash_walk crash_triples PROPERTIES TIMEOUT 3600) # with QIMG_LONG

# Memory that runs out, system calls that fail; on real files, so none of the simulator is in it.
set(fail_points malloc calloc realloc reallocarray aligned_alloc posix_memalign strdup strndup
    open openat read write pread preadv preadv2 pwritev fsync fdatasync ftruncate fallocate
    posix_fallocate rename renameat2 unlink unlinkat mkdir mkdirat fstat copy_file_range)
qimg_test_program(crash_memory crash/crash_memory.c crash/fail_point.c)
qimg_test_program(crash_commands crash/crash_commands.c crash/fail_point.c crash/jobs_image.c
    crash/jobs_copy.c crash/jobs_chain.c)
qimg_quote_includes(crash_commands ${PROJECT_SOURCE_DIR}/tools) # the lists of commands
foreach(function ${fail_points})
    target_link_options(crash_memory PRIVATE -Wl,--wrap=${function})
    target_link_options(crash_commands PRIVATE -Wl,--wrap=${function})
endforeach()
qimg_crash_test(crash_memory crash_memory)
foreach(what memory calls)
    qimg_crash_test(crash_commands_${what} crash_commands ${what})
endforeach()
