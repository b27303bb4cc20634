# SPDX-License-Identifier: Apache-2.0
# The command line: tests/cli on qimg alone, tests/compat against the installed qemu-img,
# tests/corpus on crafted images, tests/tidy on the sources. The interpreter is Debian's own,
# because pytest is Debian's.
set(DEBIAN_PYTHON /usr/bin/python3)
execute_process(COMMAND ${DEBIAN_PYTHON} -c "import xdist" RESULT_VARIABLE no_xdist
                OUTPUT_QUIET ERROR_QUIET)
set(pytest_parallel)
if(no_xdist EQUAL 0)
    set(pytest_parallel -n 2)
endif()
# Runs the tool under limits; never sanitized itself, it measures memory.
add_executable(confine support_bin/confine.c)
target_compile_definitions(confine PRIVATE _GNU_SOURCE)

if(NOT QIMG_SANITIZE MATCHES "thread" AND NOT QIMG_FUZZ)
    foreach(suite cli compat corpus tidy crash diff_fuzz)
        file(GLOB found CONFIGURE_DEPENDS ${suite}/test_*.py)
        if(found)
            add_test(NAME ${suite} COMMAND ${DEBIAN_PYTHON} -m pytest -q -p no:cacheprovider
                     ${pytest_parallel} ${CMAKE_CURRENT_SOURCE_DIR}/${suite})
            set_tests_properties(${suite} PROPERTIES LABELS pytest TIMEOUT 2400
                ENVIRONMENT "QIMG_BUILD=${PROJECT_BINARY_DIR};QIMG_SANITIZE=${QIMG_SANITIZE};\
PYTHONDONTWRITEBYTECODE=1"
                FAIL_REGULAR_EXPRESSION "${sanitizer_reports}")
        endif()
    endforeach()
endif()

# The sandbox's own sources, and what must not be possible inside.
add_executable(sandboxed support_bin/sandboxed.c ${PROJECT_SOURCE_DIR}/tools/sandbox.c
    ${PROJECT_SOURCE_DIR}/tools/sandbox_filter.c ${PROJECT_SOURCE_DIR}/tools/sandbox_landlock.c)
target_include_directories(sandboxed PRIVATE ${PROJECT_SOURCE_DIR}/tools)
target_compile_definitions(sandboxed PRIVATE _GNU_SOURCE)
target_link_libraries(sandboxed PRIVATE qimg_flags)

# Loaded before the tool: crashes, faults, and what it made durable. No dependency of anything.
foreach(name kill_at fail_at sync_log)
    add_library(${name} MODULE support_bin/${name}.c)
    set_target_properties(${name} PROPERTIES PREFIX "" C_VISIBILITY_PRESET default)
    target_compile_definitions(${name} PRIVATE _GNU_SOURCE)
    target_link_libraries(${name} PRIVATE ${CMAKE_DL_LIBS})
endforeach()

# What memcheck has to be told of io_uring; without valgrind nobody asks for it.
find_path(VALGRIND_INCLUDES valgrind/memcheck.h)
if(VALGRIND_INCLUDES AND NOT QIMG_SANITIZE AND NOT CMAKE_CROSSCOMPILING)
    add_library(uring_memcheck MODULE support_bin/uring_memcheck.c)
    set_target_properties(uring_memcheck PROPERTIES PREFIX "" C_VISIBILITY_PRESET default)
    target_compile_definitions(uring_memcheck PRIVATE _GNU_SOURCE)
    target_include_directories(uring_memcheck PRIVATE ${URING_INCLUDE_DIRS})
    target_link_libraries(uring_memcheck PRIVATE qimg_flags)
endif()
