"""What hostile files and bad moments do: readers fuzzed, verbs killed or left without a disk.

    python -m bench.robustness           every reader, over 10,000 seeded inputs: half an hour
    python -m bench.robustness.faults    every verb that writes, killed, stopped, without a disk
    python -m bench.robustness.page      docs/results/robustness.md of the three results

An input is accepted, or refused by one line (`InputError`); anything else is a fault: another
exception, more than one line, the end of the process, no answer in time. Readers are called in
worker processes under a limit of memory, by the functions that the verbs call (`kinds`).
"""
