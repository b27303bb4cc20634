# SPDX-License-Identifier: Apache-2.0
# The command line: tests/cli on qimg alone, tests/compat against the installed qemu-img.
find_program(DEBIAN_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH REQUIRED)
if(NOT QIMG_SANITIZE MATCHES "thread" AND NOT QIMG_FUZZ)
    foreach(suite cli compat tidy)
        file(GLOB found CONFIGURE_DEPENDS ${suite}/test_*.py)
        if(found)
            add_test(NAME ${suite} COMMAND ${DEBIAN_PYTHON} -m pytest -q -p no:cacheprovider
                     ${CMAKE_CURRENT_SOURCE_DIR}/${suite})
            set_tests_properties(${suite} PROPERTIES LABELS pytest TIMEOUT 1200
                ENVIRONMENT "QIMG_BUILD=${PROJECT_BINARY_DIR};PYTHONDONTWRITEBYTECODE=1"
                FAIL_REGULAR_EXPRESSION "${sanitizer_reports}")
        endif()
    endforeach()
endif()
