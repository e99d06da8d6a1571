package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
)

// runLinks measures what is chosen, link by link.
func runLinks(ctx context.Context, o options, r *rig, rep *report) error {
	wrong := 0
	for _, l := range links() {
		plan := o.plan(l)
		if len(plan) == 0 || o.quick && l.Name != "lan" && l.Name != "40ms" {
			continue
		}
		r.link = l
		rows, err := o.measureLink(ctx, r, plan)
		rep.Links, rep.Rows = append(rep.Links, r.link), append(rep.Rows, rows...)
		for _, row := range rows {
			if row.failed() && ctx.Err() == nil {
				wrong++
			}
		}
		if err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d figures are missing or come from wrong bytes: see the notes", wrong)
	}
	return nil
}

func (o options) measureLink(ctx context.Context, r *rig, plan []planned) (rows []row, err error) {
	defer r.down()
	if err := r.up(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", r.link.Name, err)
	}
	if err := r.probe(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", r.link.Name, err)
	}
	b := &bench{rig: r, size: o.size, limit: o.limit, say: func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, format+"\n", args...)
	}}
	for _, p := range plan {
		b.say("%s, %s", r.link.Name, p.workload.name)
		rows = append(rows, b.measure(ctx, p.workload, p.subjects)...)
		if ctx.Err() != nil {
			return rows, errors.New("interrupted")
		}
	}
	return rows, nil
}

// planned is a workload and whom to measure with it.
type planned struct {
	workload workload
	subjects []subject
}

// plan chooses for a link.
func (o options) plan(l link) []planned {
	var plan []planned
	for _, w := range workloads() {
		if w.links != nil && !slices.Contains(w.links, l.Name) || o.quick && !w.quick {
			continue
		}
		p := planned{workload: w}
		for _, s := range o.subjects(l, w) {
			if o.only.MatchString(l.Name + "/" + w.name + "/" + s.name()) {
				p.subjects = append(p.subjects, s)
			}
		}
		if len(p.subjects) == 0 {
			continue
		}
		// The reference comes along unasked.
		if _, chosen := p.subjects[len(p.subjects)-1].(local); w.raw == nil && !chosen {
			p.subjects = append(p.subjects, local{})
		}
		plan = append(plan, p)
	}
	return plan
}

// subjects are those that say something on a link: what knows no network is
// measured on the one that is none, others on two.
func (o options) subjects(l link, w workload) []subject {
	if w.copies > 0 {
		return copiers()
	}
	all := []subject{product{flags: productFlags()}}
	if o.quick {
		return all
	}
	if l.Delay == "" {
		all = append(all, memory{})
	}
	if l.Delay == "" || l.Name == "40ms" {
		all = append(all, pyunicore{}, rclone{})
	}
	if l.Delay == "" || w.raw == nil {
		all = append(all, local{})
	}
	return all
}
