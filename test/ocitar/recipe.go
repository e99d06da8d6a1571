package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// recipe is what the last stage of a Dockerfile makes.
type recipe struct {
	copies     []copied
	user       string
	entrypoint []string
}

type copied struct{ source, target string }

// parseRecipe reads the few instructions that an image of files needs. All others
// are errors, lest the image differ from Docker's.
func parseRecipe(text string) (recipe, error) {
	args := make(map[string]string) // with their defaults
	var r recipe
	base := ""
	for line := range strings.Lines(text) {
		instruction, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		rest = strings.TrimSpace(rest)
		switch {
		case instruction == "", strings.HasPrefix(instruction, "#"):
		case instruction == "ARG":
			name, value, _ := strings.Cut(rest, "=")
			args[name] = value
		case instruction == "FROM":
			r, base = recipe{}, strings.Fields(rest)[0]
			if name, ok := strings.CutPrefix(base, "${"); ok {
				base = args[strings.TrimSuffix(name, "}")]
			}
		case base != "scratch": // an earlier stage, or an error told below
		default:
			if err := r.add(instruction, rest); err != nil {
				return recipe{}, err
			}
		}
	}
	switch {
	case base != "scratch":
		return recipe{}, fmt.Errorf("the last stage is from %q, and only scratch needs no pulling", base)
	case len(r.entrypoint) == 0:
		return recipe{}, errors.New("the last stage has no ENTRYPOINT")
	}
	return r, nil
}

func (r *recipe) add(instruction, rest string) error {
	switch instruction {
	case "COPY":
		words := strings.Fields(rest)
		if len(words) > 0 && strings.HasPrefix(words[0], "--from=") {
			words = words[1:]
		}
		if len(words) != 2 || strings.HasPrefix(words[0], "-") {
			return fmt.Errorf("COPY %s: want one source and one target", rest)
		}
		r.copies = append(r.copies, copied{words[0], words[1]})
	case "USER":
		r.user = rest
	case "ENTRYPOINT":
		if err := json.Unmarshal([]byte(rest), &r.entrypoint); err != nil {
			return fmt.Errorf("ENTRYPOINT %s: want a list in brackets", rest)
		}
	default:
		return fmt.Errorf("instruction %s is not known here", instruction)
	}
	return nil
}
