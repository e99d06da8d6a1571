package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/csi-uftp/csi-uftp/internal/volume"
)

// attributeFlags are flags made from the table of volume attributes. They
// remember what was given, so that a URL's query holds for the rest.
type attributeFlags struct {
	given map[string]string // by the attribute's name
}

func (f *attributeFlags) add(flags *pflag.FlagSet, accept func(volume.Attribute) bool) {
	f.given = make(map[string]string)
	for _, attribute := range volume.Attributes() {
		if !accept(attribute) {
			continue
		}
		usage := attribute.Help
		if attribute.Allowed != "" && !attribute.IsBool() {
			usage += " (" + attribute.Allowed + ")"
		}
		flag := flags.VarPF(attributeValue{attribute, f.given}, attribute.Flag(), "", strings.ReplaceAll(usage, "`", "'"))
		if attribute.IsBool() {
			flag.NoOptDefVal = "true"
		}
	}
}

// apply sets what was given in s.
func (f *attributeFlags) apply(s *volume.Spec) error { return volume.Apply(s, f.given) }

// attributeValue is one such flag.
type attributeValue struct {
	attribute volume.Attribute
	given     map[string]string
}

// String implements [pflag.Value]. It gives the help text its default.
func (v attributeValue) String() string {
	if value, ok := v.given[v.attribute.Name]; ok {
		return value
	}
	return v.attribute.Default
}

// Set implements [pflag.Value].
func (v attributeValue) Set(value string) error {
	scratch := volume.Default()
	if err := v.attribute.Set(&scratch, value); err != nil {
		return fmt.Errorf("%w", err)
	}
	v.given[v.attribute.Name] = value
	return nil
}

// Type implements [pflag.Value]. It gives the help text the value's name.
func (v attributeValue) Type() string {
	if v.attribute.IsBool() {
		return "bool"
	}
	return strings.ReplaceAll(v.attribute.Type, " ", "-")
}
