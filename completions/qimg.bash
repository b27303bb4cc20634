# SPDX-License-Identifier: Apache-2.0
# bash completion for qimg (also where it is called qemu-img).

_qimg_options() {
    local gate="--allow-probe --allow-dir --allow-format --verify --max-depth --no-backing --no-data-file"
    local common="-h --help --object $gate"
    case $1 in
    "") echo "-h --help -V --version -T --trace -v --verbose --engine --threads --map-budget --memory-limit --compat --sandbox $gate" ;;
    amend) echo "$common -o --options -f --format --image-opts -t --cache --force -p --progress --progress=json -q --quiet" ;;
    bench) echo "$common -f --format --image-opts -t --cache -c --count -d --depth -o --offset -s --buffer-size
        -S --step-size -w --write --pattern --flush-interval --no-drain -i --aio -n --native
        -U --force-share -q --quiet --chain-depth --chain-size --scratch --pattern-access --mix --seed
        --runtime --warm-up --cold --rounds --output --plot --against --regression" ;;
    bitmap) echo "$common -f --format --image-opts --add -g --granularity --remove --clear --enable --disable --merge
        -b --source-file -F --source-format -q --quiet" ;;
    chain) echo "-h --help" ;;
    chain-show) echo "-h --help $gate -f --format --image-opts --output --as --assume
        --partial --index --wrap --target --bus" ;;
    chain-verify) echo "-h --help $gate -f --format --image-opts --as --content --output -q
        --quiet" ;;
    chain-graph) echo "-h --help --dependants --output" ;;
    chain-seal) echo "-h --help $gate -f --format --content --remove -p --progress
        --progress=json -q --quiet" ;;
    chain-audit) echo "-h --help --allow-dir --policy --policy-file --expect --formats --max-size
        --max-file-size --max-tables --max-read --max-expansion --allow --note --reject --list
        --output" ;;
    chain-fix) echo "-h --help $gate -f --format --set-format --relocate --pick --relative
        --absolute --apply --output" ;;
    chain-mv) echo "-h --help --dependants-in --dry-run -q --quiet" ;;
    chain-verbs) echo "show verify graph seal audit fix mv" ;;
    check) echo "$common -f --format --image-opts -T --cache -r --repair --undo --undo-apply --explain
        -U --force-share --output -p --progress --progress=json -q --quiet" ;;
    commit) echo "$common -f --format --image-opts -t --cache -b --base -d --drop -r --rate-limit
        --dependants --break-dependants -p --progress --progress=json -q --quiet" ;;
    compare) echo "$common -f --a-format -F --b-format --image-opts -s --strict --all --output -T --cache -U --force-share -p --progress --progress=json -q --quiet" ;;
    convert) echo "$common -f --source-format --image-opts -T --source-cache -l --snapshot --bitmaps
        --skip-broken-bitmaps --salvage -b --backing -F --backing-format -c --compress --compression-level
        -O --target-format --target-image-opts -o --target-format-options -t --target-cache
        -S --sparse-size -n --no-create --target-is-zero -U --force-share -r --rate-limit
        -m --parallel -W --oob-writes -C --copy-range-offloading --sync -p --progress --progress=json -q --quiet" ;;
    create) echo "$common -f --format -o --options -b --backing -B --backing-format -u --backing-unsafe
        --fingerprint --fingerprint-content --sync -q --quiet" ;;
    dd) echo "$common -f --format --image-opts -O --output-format -U --force-share" ;;
    fixture) echo "-h --help" ;;
    fixture-build) echo "-h --help -o --directory --force --no-sync -p --progress -q
        --quiet" ;;
    fixture-chain) echo "-h --help --depth --size --data --seed --cluster-size -f --format
        --spec --force --no-sync -p --progress -q --quiet" ;;
    fixture-overlays) echo "-h --help --count --size --data --seed --cluster-size -f
        --format --spec --force --no-sync -p --progress -q --quiet" ;;
    fixture-verify) echo "-h --help -q --quiet" ;;
    fixture-describe) echo "-h --help $gate -f --format --backing-chain --data-file" ;;
    fixture-list) echo "-h --help" ;;
    fixture-verbs) echo "build chain overlays verify describe list" ;;
    info) echo "$common -f --format --image-opts --backing-chain -U --force-share -t --cache --limits --output" ;;
    io) echo "$common -c --cmd -f --format --image-opts -r --read-only -n --nocache -t --cache -U --force-share
        -m --misalign -s --snapshot -C --copy-on-read -k --native-aio -i --aio -d --discard -T --trace -V --version" ;;
    map) echo "$common -f --format --image-opts -s --start-offset -l --max-length --output -U --force-share" ;;
    measure) echo "$common -f --format --image-opts -l --snapshot -O --target-format -o
        --target-format-options -s --size --output -U --force-share" ;;
    rebase) echo "$common -f --format --image-opts -t --cache -b --backing -B --backing-format
        -T --backing-cache -u --backing-unsafe -c --compress --fingerprint --fingerprint-content --plan --output -U --force-share -p --progress --progress=json -q --quiet" ;;
    resize) echo "$common -f --format --image-opts --shrink --preallocation -p --progress --progress=json -q --quiet" ;;
    snapshot) echo "$common -f --format --image-opts -U --force-share -l --list -c --create -a --apply -d --delete -q --quiet" ;;
    stream) echo "$common -f --format --image-opts -t --cache -b --base -c --compress --plan --output
        -r --rate-limit -p --progress --progress=json -q --quiet" ;;
    esac
}

# What may stand behind an option; fails where it is a file or free text.
_qimg_values() {
    case $1:$2 in
    bench:--output) echo "human json csv" ;;
    bench:--pattern-access) echo "seq stride random zipf" ;;
    chain-graph:--output) echo "human json dot svg" ;;
    chain-show:--output) echo "human json dot libvirt" ;;
    *:--output) echo "human json" ;;
    check:-r | check:--repair) echo "leaks all" ;;
    *:--engine) echo "auto io_uring threads" ;;
    *:--compat) echo "qemu" ;;
    *:--sandbox) echo "auto require off" ;;
    *:--preallocation) echo "off metadata falloc full" ;;
    bench:-i | bench:--aio | io:-i | io:--aio) echo "threads native io_uring" ;;
    io:-d | io:--discard) echo "ignore unmap" ;;
    *:-t | *:--cache | *:--source-cache | *:--target-cache | *:--backing-cache | check:-T | compare:-T | convert:-T | rebase:-T)
        echo "none writeback writethrough directsync unsafe" ;;
    *:--format | *:--output-format | *:--a-format | *:--b-format | *:--source-format | *:--target-format | *:--backing-format | *:--allow-format)
        echo "qcow2 raw" ;;
    *:-f | bitmap:-F | compare:-F | convert:-O | convert:-F | measure:-O | dd:-O | \
        create:-B | create:-F | rebase:-B | rebase:-F) echo "qcow2 raw" ;;
    *) return 1 ;;
    esac
}

_qimg() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command="" word values
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        case $word in
        amend | bench | bitmap | chain | check | commit | compare | convert | create | dd | fixture | info | io | map | measure | rebase | resize | snapshot | stream)
            command=$word
            if [[ ($command == chain || $command == fixture) && $((i + 1)) -lt $COMP_CWORD && ${COMP_WORDS[i + 1]} != -* ]]; then
                command=$command-${COMP_WORDS[i + 1]}
            fi
            break
            ;;
        esac
    done
    COMPREPLY=()
    if values=$(_qimg_values "$command" "$prev"); then
        mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
    elif [[ $cur == -* ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_qimg_options "$command")" -- "$cur")
    elif [[ $command == chain || $command == fixture ]]; then
        mapfile -t COMPREPLY < <(compgen -W "$(_qimg_options "$command-verbs")" -- "$cur"; compgen -f -- "$cur")
    elif [[ -z $command ]]; then
        mapfile -t COMPREPLY < <(compgen -W "amend bench bitmap chain check commit compare convert create dd fixture info io map measure rebase resize snapshot stream" -- "$cur")
    else
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$cur")
    fi
}

complete -F _qimg qimg
