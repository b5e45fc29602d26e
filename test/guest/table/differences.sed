# Where berth-oci means to differ from Debian's runc (1.1): applied to runc's outcomes before they are compared.
# Shares become weight as in runc 1.4 and crun 1.23, so that the default of one is the default of the other.
/^(limits|update): /s/cpu\.weight 20( |$)/cpu.weight 59\1/
/^(limits|update): /s/cpu\.weight 79( |$)/cpu.weight 174\1/
