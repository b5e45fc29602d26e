package option

import (
	"strconv"
	"strings"

	"berth/cli/docker/command"
	"berth/container/config"
)

// life is what is read together at the end.
type life struct {
	restart                                     string
	labels, labelFiles, annotations, logOptions []string
}

func (o *Options) readLife(a Around) error {
	c := &o.config
	if !o.changed("stop-signal") {
		c.Stop.Signal = ""
	}
	if o.changed("stop-timeout") {
		seconds, _ := o.flags.GetInt("stop-timeout")
		c.Stop.Timeout = &seconds
	}
	labels, err := a.lines(o.life.labelFiles, false)
	if err != nil {
		return err
	}
	c.Labels = mapOf(append(labels, o.life.labels...))
	c.Annotations = mapOf(o.life.annotations)
	c.Log.Options = mapOf(o.life.logOptions)
	if c.Log.Driver == "none" && len(c.Log.Options) > 0 {
		return command.Line("invalid logging opts for driver none")
	}
	if c.Restart, err = Restart(o.life.restart); err != nil {
		return err
	}
	if c.Life.Remove && c.Restart.Wanted() {
		return command.Line("Conflicting options: --restart and --rm")
	}
	return nil
}

// Restart reads POLICY[:RETRIES]; which policies there are is not looked at.
func Restart(s string) (config.Restart, error) {
	policy, count, ok := strings.Cut(s, ":")
	if strings.Contains(count, ":") {
		return config.Restart{}, command.Line("invalid restart policy format")
	}
	r := config.Restart{Policy: policy}
	if !ok {
		return r, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return r, command.Line("maximum retry count must be an integer")
	}
	r.Retries = n
	return r, nil
}
